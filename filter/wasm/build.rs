//! Has the linker write addresses and the numbers of functions in as few bytes as they take. It leaves room for the greatest there could
//! be: five bytes each, which were a twentieth of the module.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    // Where debug information is wanted, its places have to stay as they are.
    if is("CARGO_CFG_TARGET_FAMILY", "wasm") && is("PROFILE", "release") {
        for argument in ["--compress-relocations", "--strip-debug"] {
            println!("cargo::rustc-link-arg-cdylib={argument}");
        }
    }
}
