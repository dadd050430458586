//! What a login must be like beyond whose it is: how the person logged in, and how long ago.
//!
//! A gateway or a cluster may ask for more than it did when the token was got (RFC 9470). The issuer is asked for it (OpenID Connect
//! Core 1.0, section 3.1.2.1: `acr_values`, `max_age`), and what it gave is held to it: it may ignore both.

use chrono::{DateTime, Utc};

use crate::claims::Claims;

/// What is asked for. By default nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequiredLogin {
    /// Values of `acr` one of which it must be, the most wanted first; any if empty.
    pub acr: Vec<String>,
    /// The most seconds since the login.
    pub max_age: Option<u32>,
}

/// Seconds that are left over for the way of the request that a token is for.
const MARGIN: i64 = 10;
/// Seconds by which clocks and the way of an answer may differ.
const LEEWAY: i64 = 60;

/// Why a login is not as asked for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OtherLogin {
    /// Another way to log in.
    #[error("the issuer let this person log in with acr {found:?}, and {} is asked for (--acr); does the issuer know it, and does the client get it?", .wanted.join(" or "))]
    Acr {
        /// What is asked for.
        wanted: Vec<String>,
        /// What the token says; empty if it says nothing.
        found: String,
    },
    /// Too long ago.
    #[error(
        "the person logged in {ago} s ago, and {most} are asked for (--max-age); if the issuer ignores it, try --oidc-auth-request-extra-params=prompt=login"
    )]
    Old {
        /// Seconds since the login.
        ago: i64,
        /// What is asked for.
        most: u32,
    },
    /// Nobody knows when.
    #[error(
        "the token does not say when the person logged in (auth_time), which --max-age asks for; the issuer's administrator must put the claim into ID tokens"
    )]
    NoTime,
}

impl RequiredLogin {
    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.acr.is_empty() && self.max_age.is_none()
    }

    /// Whether a login that is kept is one, now and for the time that a request takes.
    #[must_use]
    pub fn is_met(&self, claims: &Claims, now: DateTime<Utc>) -> bool {
        self.hold(claims, now, -MARGIN).is_ok()
    }

    /// Whether a login that was just made is one.
    ///
    /// # Errors
    /// What is otherwise.
    pub fn check(&self, claims: &Claims, now: DateTime<Utc>) -> Result<(), OtherLogin> {
        self.hold(claims, now, LEEWAY)
    }

    fn hold(&self, claims: &Claims, now: DateTime<Utc>, more: i64) -> Result<(), OtherLogin> {
        let acr = claims.text("acr").unwrap_or_default();
        if !self.acr.is_empty() && !self.acr.iter().any(|wanted| wanted == acr) {
            return Err(OtherLogin::Acr { wanted: self.acr.clone(), found: acr.to_owned() });
        }
        let Some(most) = self.max_age else { return Ok(()) };
        let at = claims.logged_in_at().ok_or(OtherLogin::NoTime)?;
        let ago = (now - at).num_seconds();
        if ago <= i64::from(most) + more { Ok(()) } else { Err(OtherLogin::Old { ago, most }) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::claims::tests::unsigned;

    #[test]
    fn a_login_is_what_is_asked_for_or_not() {
        let now = DateTime::from_timestamp(1_000_000, 0).unwrap();
        for (acr, max_age, claims, fresh, kept) in [
            (&[][..], None, json!({}), true, true),
            (&["mfa"], None, json!({}), false, false),
            (&["mfa"], None, json!({"acr": "0"}), false, false),
            (&["mfa"], None, json!({"acr": ["mfa"]}), false, false),
            (&["hw", "mfa"], None, json!({"acr": "mfa"}), true, true),
            (&[], Some(900), json!({}), false, false),
            (&[], Some(900), json!({"auth_time": "1000000"}), false, false),
            (&[], Some(900), json!({"auth_time": 1_000_000}), true, true),
            (&[], Some(900), json!({"auth_time": 999_110}), true, true),
            // Good when it comes, and too old for the next command.
            (&[], Some(900), json!({"auth_time": 999_100}), true, false),
            (&[], Some(900), json!({"auth_time": 999_039}), false, false),
            (&[], Some(0), json!({"auth_time": 1_000_000}), true, false),
            (&["mfa"], Some(900), json!({"auth_time": 1_000_000, "acr": "x"}), false, false),
        ] {
            let acr = acr.iter().map(ToString::to_string).collect();
            let required = RequiredLogin { acr, max_age };
            let mut claims = claims;
            claims["exp"] = json!(2_000_000);
            let claims = Claims::of(&unsigned(&claims)).unwrap();
            let got = (required.check(&claims, now).is_ok(), required.is_met(&claims, now));
            assert_eq!(got, (fresh, kept), "{required:?} {:?}", claims.all());
        }
    }
}
