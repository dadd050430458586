//! Tells the linker to take libgcc into the program, which deploy/libgcc is for.

use std::env;

fn main() {
    let target = |name| env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    if target("OS") == "linux" && target("ENV") == "gnu" {
        let package = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo::rustc-link-search=native={package}/../../deploy/libgcc");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
