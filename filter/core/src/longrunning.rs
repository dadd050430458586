//! Requests that outlive their answer's first byte: watches, followed logs, upgraded streams.
//!
//! Source: k8s.io/apiserver, `pkg/server/config.go` (`LongRunningFunc`) and `pkg/endpoints/request/requestinfo.go`.

use std::{borrow::Cow, time::Duration};

use percent_encoding::percent_decode;

use crate::config::{AtExpiry, StreamExpiry};

/// The kind of a long-running request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LongRunning {
    /// `?watch=true`, or the old `/watch/` paths.
    Watch,
    /// `/log?follow=true`.
    Log,
    /// exec, attach, port-forward, and proxied upgrades.
    Upgrade,
}

/// The kind of a request, if it is a long-running one.
#[must_use]
pub fn kind(path: &[u8], upgrade: bool) -> Option<LongRunning> {
    if upgrade {
        return Some(LongRunning::Upgrade);
    }
    let mut halves = path.splitn(2, |&byte| byte == b'?');
    let (path, query) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
    let path = decoded(path);
    if is_true(query, b"watch") || is_watch_path(&path) {
        Some(LongRunning::Watch)
    } else if trimmed(&path).ends_with(b"/log") && is_true(query, b"follow") {
        Some(LongRunning::Log)
    } else {
        None
    }
}

/// When a stream of this kind is to end, from now; `None` if it may stay.
#[must_use]
pub fn cut_after(
    kind: LongRunning,
    policy: &StreamExpiry,
    expires_at: Duration,
    now: Duration,
) -> Option<Duration> {
    let at_expiry = match kind {
        LongRunning::Watch => policy.watches,
        LongRunning::Log => policy.logs,
        LongRunning::Upgrade => policy.upgrades,
    };
    let end = expires_at.saturating_add(Duration::from_secs(policy.grace_seconds.into()));
    // What an issuer says of a token need not say when it ends.
    (at_expiry == AtExpiry::Cut && expires_at < Duration::MAX).then(|| end.saturating_sub(now))
}

/// A duration as a `grpc-timeout` value: at most eight digits, and never 0, which would end the stream at once.
#[must_use]
pub fn grpc_timeout(duration: Duration) -> String {
    const MOST: u128 = 99_999_999;
    match duration.as_millis() {
        millis @ 0..=MOST => format!("{}m", millis.max(1)),
        _ => format!("{}S", u128::from(duration.as_secs()).min(MOST)),
    }
}

/// A query parameter as Kubernetes reads a bool: present and not `false` or `0`.
fn is_true(query: &[u8], name: &[u8]) -> bool {
    query.split(|&byte| byte == b'&').any(|pair| {
        let mut parts = pair.splitn(2, |&byte| byte == b'=');
        parts.next().is_some_and(|part| *decoded(part) == *name)
            && !parts
                .next()
                .map(decoded)
                .is_some_and(|value| value.eq_ignore_ascii_case(b"false") || *value == *b"0")
    })
}

/// With its percent-escapes resolved, as kube-apiserver sees it: who writes `w%61tch` watches all the same.
fn decoded(part: &[u8]) -> Cow<'_, [u8]> {
    percent_decode(part).into()
}

/// kube-apiserver overlooks slashes at the end.
fn trimmed(mut path: &[u8]) -> &[u8] {
    while let Some(rest) = path.strip_suffix(b"/") {
        path = rest;
    }
    path
}

/// `/api/VERSION/watch/...` and `/apis/GROUP/VERSION/watch/...`
fn is_watch_path(path: &[u8]) -> bool {
    let mut parts = path.split(|&byte| byte == b'/').skip(1);
    match parts.next() {
        Some(b"api") => parts.nth(1) == Some(b"watch"),
        Some(b"apis") => parts.nth(2) == Some(b"watch"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        for (path, upgrade, want) in [
            ("/api/v1/pods", false, None),
            ("/api/v1/pods?watch=true&x=1", false, Some(LongRunning::Watch)),
            ("/api/v1/pods?x=1&watch=1", false, Some(LongRunning::Watch)),
            ("/api/v1/pods?watch", false, Some(LongRunning::Watch)),
            ("/api/v1/pods?watch=false", false, None),
            ("/api/v1/pods?watch=0", false, None),
            ("/api/v1/pods?unwatch=true", false, None),
            ("/api/v1/pods?w%61tch=tru%65", false, Some(LongRunning::Watch)),
            ("/api/v1/pods?watch=fals%65", false, None),
            ("/api/v1/w%61tch/pods", false, Some(LongRunning::Watch)),
            ("/api/v1/watch/pods", false, Some(LongRunning::Watch)),
            ("/apis/apps/v1/watch/deployments", false, Some(LongRunning::Watch)),
            ("/apis/apps/v1/namespaces/watch/deployments", false, None),
            ("/api/v1/namespaces/n/pods/p/log?follow=true", false, Some(LongRunning::Log)),
            ("/api/v1/namespaces/n/pods/p/lo%67?f%6Fllow=1", false, Some(LongRunning::Log)),
            ("/api/v1/namespaces/n/pods/p/log//?follow=1", false, Some(LongRunning::Log)),
            ("/api/v1/namespaces/n/pods/p/log", false, None),
            ("/api/v1/namespaces/n/pods/p/exec?command=sh", true, Some(LongRunning::Upgrade)),
        ] {
            assert_eq!(kind(path.as_bytes(), upgrade), want, "{path}");
        }
    }

    #[test]
    fn only_what_is_to_be_cut_is_cut_and_never_at_once() {
        let secs = Duration::from_secs;
        let policy =
            StreamExpiry { watches: AtExpiry::Cut, grace_seconds: 5, ..StreamExpiry::default() };
        assert_eq!(cut_after(LongRunning::Watch, &policy, secs(100), secs(70)), Some(secs(35)));
        assert_eq!(cut_after(LongRunning::Log, &policy, secs(100), secs(70)), None);
        for (duration, want) in [
            (Duration::ZERO, "1m"),
            (secs(35), "35000m"),
            (secs(99_999), "99999000m"),
            (secs(100_000), "100000S"),
            (Duration::MAX, "99999999S"),
        ] {
            assert_eq!(grpc_timeout(duration), want);
        }
    }
}
