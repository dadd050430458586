//! Tells the linker what a module of Envoy has to hold to.

use std::env;

fn main() {
    // A thread of the module runs as long as the process does, so that its code must never be unloaded.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // What deploy/libgcc is for.
    let target = |name| env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    if target("OS") == "linux" && target("ENV") == "gnu" {
        let package = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo::rustc-link-search=native={package}/../../../deploy/libgcc");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
