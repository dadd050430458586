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

/// Whether a request may last: one of these kinds, or whatever goes through a proxy, which may stream without a word of it in the request.
#[must_use]
pub fn lasts(path: &[u8], upgrade: bool) -> bool {
    kind(path, upgrade).is_some() || is_proxy(path)
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

/// kube-apiserver overlooks slashes at both ends.
fn trimmed(mut path: &[u8]) -> &[u8] {
    while let Some(rest) = path.strip_prefix(b"/") {
        path = rest;
    }
    while let Some(rest) = path.strip_suffix(b"/") {
        path = rest;
    }
    path
}

/// What stands behind `/api/VERSION/` and `/apis/GROUP/VERSION/`.
fn parts_of_resource(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut parts = trimmed(path).split(|&byte| byte == b'/');
    let before = match parts.next() {
        Some(b"api") => 1,
        Some(b"apis") => 2,
        _ => usize::MAX,
    };
    parts.skip(before)
}

/// `/api/VERSION/watch/...` and `/apis/GROUP/VERSION/watch/...`
fn is_watch_path(path: &[u8]) -> bool {
    parts_of_resource(path).next() == Some(b"watch")
}

/// The subresource `proxy`, of whatever group: servers behind kube-apiserver have it, too.
fn is_proxy(path: &[u8]) -> bool {
    let path = decoded(path.split(|&byte| byte == b'?').next().unwrap_or_default());
    let mut parts = parts_of_resource(&path).peekable();
    // In a namespace or not; `namespaces` themselves have no such subresource.
    if parts.peek() == Some(&&b"namespaces"[..]) {
        parts.nth(1);
    }
    parts.nth(2) == Some(b"proxy")
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

    /// As kube-apiserver's own reading says (`LongRunningFunc`), but for logs that nobody follows: they end by themselves.
    #[test]
    fn what_lasts_is_known_by_whatever_spelling() {
        for (path, want) in [
            ("/api/v1/pods", false),
            ("/api/v1/pods?watch=1", true),
            ("//api/v1/watch/pods", true),
            ("/api/v1/namespaces/n/services/s/proxy/events", true),
            ("/api/v1/namespaces/n/services/s/pro%78y/events", true),
            ("/api/v1/namespaces/n/services%2Fs/proxy", true),
            ("/api/v1/nodes/n/prox%79/containerLogs/a/b/c", true),
            ("//api/v1/nodes/n/proxy/", true),
            ("/apis/cluster.example/v1/clusters/c/proxy/api/v1/pods", true),
            ("/apis/cluster.example/v1/namespaces/n/clusters/c/proxy", true),
            ("/api/v1/namespaces/n/pods/proxy", false),
            ("/api/v1/namespaces/proxy/pods/p", false),
            ("/api/v1/namespaces/n/pods/p?proxy", false),
            ("/proxy", false),
        ] {
            assert_eq!(lasts(path.as_bytes(), false), want, "{path}");
            let read = kube_request::RequestInfo::read("GET", path).unwrap();
            assert_eq!(read.is_long_running(), want, "{path}: {read:?}");
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
