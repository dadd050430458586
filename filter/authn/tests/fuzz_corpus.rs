//! The corpora of fuzz/ once more, without libFuzzer: what was found there stays found.
#![expect(clippy::disallowed_macros, clippy::disallowed_methods, reason = "the corpora are files")]
#![cfg(all(feature = "yaml", not(target_arch = "wasm32")))]

use std::{fs, path::Path};

#[path = "../../../fuzz/src/lib.rs"]
mod targets;

fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut replayed = 0;
    for file in files {
        let path = file.expect("a file").path();
        println!("{}", path.display());
        run(&fs::read(&path).expect("its content"));
        replayed += 1;
    }
    assert!(replayed >= 10, "{target}: {replayed} inputs");
}

#[test]
fn tokens() {
    replay("token", targets::token);
}

#[test]
fn claims() {
    replay("claims", targets::claims);
}

#[test]
fn configurations() {
    replay("configuration", targets::configuration);
}

#[test]
fn expressions() {
    replay("expression", targets::expression);
}
