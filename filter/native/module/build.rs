//! Tells the linker what a module of Envoy has to hold to.

fn main() {
    // A thread of the module runs as long as the process does, so that its code must never be unloaded.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo::rerun-if-changed=build.rs");
}
