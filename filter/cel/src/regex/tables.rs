//! Unicode's general categories and scripts by name, and which characters differ in case alone.
//!
//! They lie compressed in the module, made so by `build.rs`, which says in what form. The first expression that needs a table has it
//! inflated, once for each VM.

use std::{io::Read, sync::OnceLock};

use flate2::read::DeflateDecoder;
use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange};

static CLASSES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/classes"));
static FOLDS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/folds"));

fn inflated(bytes: &[u8]) -> String {
    let mut text = String::new();
    // What is built in is whole. If it were not, no class would be known.
    let _ = DeflateDecoder::new(bytes).read_to_string(&mut text);
    text
}

/// The set of this name. Names are compared without case, blanks, `_`, `-` and a leading `is` (Unicode Standard Annex 44, LM3).
pub fn class(name: &str) -> Option<ClassUnicode> {
    static TEXT: OnceLock<String> = OnceLock::new();
    let mut wanted: String =
        name.chars().filter(|c| !matches!(c, ' ' | '_' | '-')).collect::<String>();
    wanted.make_ascii_lowercase();
    let has_is = name.get(..2).is_some_and(|is| is.eq_ignore_ascii_case("is"));
    let bare = if has_is { wanted.get(2..).unwrap_or_default() } else { &wanted };
    // `isc` is the name of a property.
    if has_is && bare == "c" {
        return None;
    }
    let lines = TEXT.get_or_init(|| inflated(CLASSES)).lines();
    let mut lines = lines.filter_map(|line| line.split_once(':'));
    let (_, numbers) = lines.find(|(names, _)| names.split(' ').any(|name| name == bare))?;
    let mut numbers = numbers.split(' ').filter_map(|number| number.parse::<u32>().ok());
    let (mut ranges, mut last) = (Vec::new(), 0_u32);
    while let (Some(gap), Some(more)) = (numbers.next(), numbers.next()) {
        let start = last.saturating_add(gap);
        last = start.saturating_add(more);
        ranges.push(ClassUnicodeRange::new(char::from_u32(start)?, char::from_u32(last)?));
    }
    Some(ClassUnicode::new(ranges))
}

/// The class with everything that differs from it in case alone.
pub fn folded(mut class: ClassUnicode) -> ClassUnicode {
    static PAIRS: OnceLock<Vec<(char, char)>> = OnceLock::new();
    let pairs = PAIRS.get_or_init(|| pairs(&inflated(FOLDS)));
    let mut others = Vec::new();
    for range in class.ranges() {
        let first = pairs.partition_point(|(one, _)| *one < range.start());
        let inside = pairs.iter().skip(first).take_while(|(one, _)| *one <= range.end());
        others.extend(inside.map(|(_, other)| ClassUnicodeRange::new(*other, *other)));
    }
    class.union(&ClassUnicode::new(others));
    class
}

/// Characters in their order, each with one that differs from it in case alone.
fn pairs(text: &str) -> Vec<(char, char)> {
    let mut numbers = text.split(' ').filter_map(|number| number.parse::<i32>().ok());
    let (mut pairs, mut one) = (Vec::new(), 0_i32);
    let character = |number: i32| u32::try_from(number).ok().and_then(char::from_u32);
    while let (Some(gap), Some(distance)) = (numbers.next(), numbers.next()) {
        one = one.saturating_add(gap);
        pairs.extend(character(one).zip(character(one.saturating_add(distance))));
    }
    pairs
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use regex_syntax::hir::{Class, HirKind};

    use super::*;

    /// The library's own tables are the tests' alone.
    fn of_the_library(name: &str) -> Option<ClassUnicode> {
        match regex_syntax::parse(&format!(r"\p{{{name}}}")).ok()?.into_kind() {
            HirKind::Class(Class::Unicode(class)) => Some(class),
            HirKind::Literal(literal) => {
                let one = std::str::from_utf8(&literal.0).ok()?.chars().next()?;
                Some(ClassUnicode::new([ClassUnicodeRange::new(one, one)]))
            }
            _ => None,
        }
    }

    #[test]
    fn every_name_has_its_set() {
        let mut count = 0;
        for name in include_str!("names.txt").split_whitespace() {
            for name in [name.to_owned(), name.to_uppercase(), format!("Is_{name}")] {
                let want = of_the_library(&name);
                assert_eq!(class(&name), want, "{name}");
                count += usize::from(want.is_some());
            }
        }
        assert!(count > 1000, "{count}");
        for none in ["", "is", "Greek:", "Klingon", "Alphabetic", "Latin Greek", "Script"] {
            assert_eq!(class(none), None, "{none:?}");
        }
        assert_eq!(class("Uppercase Letter"), of_the_library("Lu"));
    }

    #[test]
    fn every_character_has_its_other_cases() {
        for start in (0..0x11_0000).step_by(0x40) {
            let ends = char::from_u32(start).zip(char::from_u32(start + 0x3f));
            let Some((from, to)) = ends else { continue };
            for range in [(from, to), (from, from), (to, to)] {
                let class = ClassUnicode::new([ClassUnicodeRange::new(range.0, range.1)]);
                let mut want = class.clone();
                want.try_case_fold_simple().unwrap();
                assert_eq!(folded(class), want, "{range:?}");
            }
        }
        for one in (0..0x2_0000).filter_map(char::from_u32) {
            let class = ClassUnicode::new([ClassUnicodeRange::new(one, one)]);
            let mut want = class.clone();
            want.try_case_fold_simple().unwrap();
            assert_eq!(folded(class), want, "{one:?}");
        }
    }
}
