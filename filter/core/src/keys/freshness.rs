//! How long an answer is fresh: RFC 9111, sections 4.2 and 5, within the bounds of the configuration.

use std::time::{Duration, SystemTime};

use crate::{config::KeySetPolicy, headers::HeaderList};

/// The time for which a key set may be used before it is fetched again.
#[must_use]
pub fn lifetime(headers: &HeaderList, now: Duration, policy: &KeySetPolicy) -> Duration {
    let bound = |seconds: u64| {
        let (least, most) = (policy.minimum_lifetime_seconds, policy.maximum_lifetime_seconds);
        Duration::from_secs(seconds.clamp(least.into(), most.into()))
    };
    match cache_control(headers) {
        Some(CacheControl::Never) => bound(0),
        Some(CacheControl::MaxAge(seconds)) => {
            let age = text(headers, "age").and_then(|age| age.trim().parse().ok()).unwrap_or(0);
            bound(seconds.saturating_sub(age))
        }
        None => match expires(headers, now) {
            Some(seconds) => bound(seconds),
            None => bound(policy.default_lifetime_seconds.into()),
        },
    }
}

enum CacheControl {
    Never,
    MaxAge(u64),
}

fn cache_control(headers: &HeaderList) -> Option<CacheControl> {
    let mut max_age = None;
    for (_, value) in headers.iter().filter(|(name, _)| name == "cache-control") {
        let value = std::str::from_utf8(value).unwrap_or_default();
        for directive in value.split(',') {
            let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" | "no-cache" => return Some(CacheControl::Never),
                "max-age" => max_age = argument.trim().trim_matches('"').parse().ok().or(max_age),
                _ => {}
            }
        }
    }
    max_age.map(CacheControl::MaxAge)
}

/// Seconds until `Expires`, by the issuer's own clock where it tells it. An invalid date means expired.
fn expires(headers: &HeaderList, now: Duration) -> Option<u64> {
    let date = |name| text(headers, name).and_then(|value| httpdate::parse_http_date(value).ok());
    text(headers, "expires")?;
    let now = date("date").unwrap_or_else(|| {
        SystemTime::UNIX_EPOCH.checked_add(now).unwrap_or(SystemTime::UNIX_EPOCH)
    });
    Some(
        date("expires")
            .and_then(|then| then.duration_since(now).ok())
            .map_or(0, |left| left.as_secs()),
    )
}

fn text<'a>(headers: &'a HeaderList, name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(found, _)| found == name)
        .and_then(|(_, value)| std::str::from_utf8(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_whatever_the_issuer_says() {
        let policy = KeySetPolicy::default();
        let now = Duration::from_secs(1_000_000_000); // Sun, 09 Sep 2001 01:46:40 GMT
        for (headers, want) in [
            (&[][..], 300),
            (&[("cache-control", "max-age=600")], 600),
            (&[("cache-control", "public, Max-Age=\"600\", must-revalidate")], 600),
            (&[("cache-control", "max-age=600"), ("age", "500")], 100),
            (&[("cache-control", "max-age=600"), ("age", "9999")], 60),
            (&[("cache-control", "max-age=1")], 60),
            (&[("cache-control", "max-age=99999999")], 86_400),
            (&[("cache-control", "max-age=99999999999999999999999")], 300),
            (&[("cache-control", "max-age=600"), ("cache-control", "no-store")], 60),
            (&[("cache-control", "no-cache"), ("expires", "Sun, 09 Sep 2001 03:46:40 GMT")], 60),
            (&[("expires", "Sun, 09 Sep 2001 01:56:40 GMT")], 600),
            (
                &[
                    ("expires", "Sun, 09 Sep 2001 03:56:40 GMT"),
                    ("date", "Sun, 09 Sep 2001 03:46:40 GMT"),
                ],
                600,
            ),
            (&[("expires", "0")], 60),
            (&[("expires", "Sun, 09 Sep 2001 00:00:00 GMT")], 60),
        ] {
            let list: Vec<_> =
                headers.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect();
            assert_eq!(lifetime(&list, now, &policy), Duration::from_secs(want), "{headers:?}");
        }
    }

    #[test]
    fn the_bounds_are_those_of_the_configuration() {
        let policy = serde_json::json!({
            "minimumLifetimeSeconds": 100, "defaultLifetimeSeconds": 150, "maximumLifetimeSeconds": 200,
        });
        let policy: KeySetPolicy = serde_json::from_value(policy).unwrap();
        for (header, want) in [("", 150), ("max-age=1", 100), ("max-age=999", 200)] {
            let list = vec![("cache-control".to_owned(), header.as_bytes().to_vec())];
            let got = lifetime(&list, Duration::from_secs(1_000_000_000), &policy);
            assert_eq!(got, Duration::from_secs(want), "{header:?}");
        }
    }
}
