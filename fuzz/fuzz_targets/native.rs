#![no_main]

use std::sync::Once;

#[path = "../src/native.rs"]
mod native;

/// libFuzzer takes every panic for a finding. Here one that was asked for has to be caught by the module.
static HOOK: Once = Once::new();

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            if !panic.to_string().contains("asked for") {
                eprintln!("{panic}");
                std::process::abort();
            }
        }));
    });
    native::native(input);
});
