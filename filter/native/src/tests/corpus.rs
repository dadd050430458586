//! The corpus of fuzz/ once more, without libFuzzer: what was found there stays found.

use std::{fs, path::Path};

#[path = "../../../../fuzz/src/native.rs"]
mod targets;

#[test]
fn what_fuzzing_found_stays_found() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/native");
    let mut replayed = 0;
    for file in fs::read_dir(&folder).unwrap() {
        targets::native(&fs::read(file.unwrap().path()).unwrap());
        replayed += 1;
    }
    assert!(replayed >= 10, "{replayed} inputs");
}
