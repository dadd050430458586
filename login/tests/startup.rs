//! kubectl runs the plugin for every command: what it costs when the token is there.

mod common;

use std::time::{Duration, Instant};

use common::World;

/// Far above what it takes (docs/login.md has the figures), so that a busy machine passes and a request to the issuer, a
/// scan of certificate authorities or a key derivation on the way does not.
const AT_MOST: Duration = Duration::from_millis(150);

#[test]
fn a_stored_token_is_handed_on_at_once() {
    let world = World::new();
    let get_token = || world.get_token().arg("--token-store=file");
    world.log_in(get_token()).credential();
    world.provider.go_down().unwrap();
    let mut best = Duration::MAX;
    for _ in 0..20 {
        let start = Instant::now();
        get_token().run().credential();
        best = best.min(start.elapsed());
    }
    assert!(best < AT_MOST, "{best:?}");
}
