//! `streamExpiry`: what lasts ends with the token that began it, where that is configured.

use std::time::{Duration, Instant};

use serde_json::json;

use super::Settings;
use crate::harness::{LIMIT, cluster, pod};

/// How long the tokens live.
const LIFE: i64 = 8;

/// client-go#1381, Pinniped GHSA-rp4v-hhm6-rcv9: authentication at the start alone lets streams outlive it.
#[test]
fn streams_end_with_their_token_where_they_are_cut() {
    pod("expiring");
    cluster().admin().must(["create", "namespace", "expiry"], "").unwrap();
    let cut = Settings::new(
        "cut",
        json!({"streamExpiry": {"watches": "cut", "logs": "cut", "upgrades": "cut"}}),
    );
    let keep = Settings::new("keep", json!({}));
    let (cut, keep) = (cut.start(), keep.start());
    for mode in [&cut, &keep] {
        mode.whoami_at_last(&mode.token().mint(), &[]);
    }
    let streams: [&[&str]; 2] = [
        &["get", "--raw", "/api/v1/namespaces/expiry/configmaps?watch=true"],
        &["exec", "expiring", "--", "sh", "-c", "echo begun; sleep 60"],
    ];
    let admin =
        |token: oidc_provider::TokenBuilder| token.claim("groups", ["system:masters"].as_slice());
    let mut running = Vec::new();
    for words in streams {
        for mode in [&cut, &keep] {
            let begun = Instant::now();
            let kubectl = mode.kubectl(admin(mode.token()).expires_in(LIFE).mint());
            let mut stream = kubectl.start(words).unwrap();
            if words[0] == "exec" {
                stream.line(LIMIT, |line| line == "begun").unwrap();
            }
            running.push((mode.user() == cut.user(), begun, kubectl, stream, words));
        }
    }
    let life = Duration::from_secs(LIFE.unsigned_abs());
    let mut kept = Vec::new();
    for (is_cut, begun, kubectl, mut stream, words) in running {
        if !is_cut {
            kept.push((kubectl, stream, words));
            continue;
        }
        stream.wait(LIMIT).unwrap();
        let lasted = begun.elapsed();
        // Times in a token are whole seconds.
        assert!(lasted + Duration::from_millis(1100) >= life, "{words:?} ended after {lasted:?}");
        assert!(lasted < life + Duration::from_secs(6), "{words:?} ended after {lasted:?}");
    }
    // By now the tokens of the others have expired as well.
    for (_kubectl, mut stream, words) in kept {
        assert_eq!(stream.ended().unwrap(), None, "{words:?} ended");
    }
}
