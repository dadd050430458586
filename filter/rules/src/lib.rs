//! The versions of Kubernetes whose rules of authentication are followed, and what differs between them.
//!
//! One value, [`Rules`], says whose rules hold. Whatever depends on it asks for a [`Difference`] by name, and the table of differences
//! ([`DIFFERENCES`]) says from which version on each holds. The documentation's table is made of the same rows.
//!
//! The binary's minor alone decides upstream, whatever its `--emulation-version` is: `environment.StoredExpressions` is built at the
//! highest version, and the authenticator has no gates.

#![forbid(unsafe_code)]

mod difference;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de};

pub use difference::{DIFFERENCES, Difference, Row};

/// A minor of Kubernetes whose rules hold. The default is the newest that is released.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Rules {
    /// As of 1.36.3.
    #[serde(rename = "1.36")]
    V1_36,
    /// As of 1.37.2.
    #[default]
    #[serde(rename = "1.37")]
    V1_37,
    /// As of 1.38.0-beta.0: what the release will have may differ.
    #[serde(rename = "1.38")]
    V1_38,
}

impl Rules {
    /// All of them, the oldest first.
    pub const ALL: [Self; 3] = [Self::V1_36, Self::V1_37, Self::V1_38];

    /// The minor: `1.37`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1_36 => "1.36",
            Self::V1_37 => "1.37",
            Self::V1_38 => "1.38",
        }
    }

    /// The version of Kubernetes that the rules were compared with.
    #[must_use]
    pub fn compared_with(self) -> &'static str {
        match self {
            Self::V1_36 => "1.36.3",
            Self::V1_37 => "1.37.2",
            Self::V1_38 => "1.38.0-beta.0",
        }
    }

    /// Whether what changed upstream had changed by this version.
    #[must_use]
    pub fn has(self, difference: Difference) -> bool {
        self >= difference.since()
    }
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A version whose rules are not known here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Kubernetes {0:?}: the rules of 1.36, 1.37 and 1.38 (as of 1.38.0-beta.0) are known")]
pub struct UnknownRules(pub String);

impl FromStr for Rules {
    type Err = UnknownRules;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|rules| rules.as_str() == text);
        known.ok_or_else(|| UnknownRules(text.to_owned()))
    }
}

/// A string, or the number that YAML makes of it without quotes.
impl<'de> Deserialize<'de> for Rules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Minor;

        impl de::Visitor<'_> for Minor {
            type Value = Rules;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a minor of Kubernetes: \"1.36\", \"1.37\" or \"1.38\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Rules, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Rules, E> {
                self.visit_str(&number.to_string())
            }
        }

        deserializer.deserialize_any(Minor)
    }
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_version_is_read_as_it_is_written() {
        for rules in Rules::ALL {
            assert_eq!(rules.as_str().parse(), Ok(rules));
            let json = serde_json::to_string(&rules).unwrap();
            assert_eq!(json, format!("{:?}", rules.as_str()));
            assert_eq!(serde_json::from_str::<Rules>(&json).unwrap(), rules);
            assert_eq!(serde_json::from_str::<Rules>(rules.as_str()).unwrap(), rules);
        }
        for text in ["\"1.35\"", "1.4", "\"1.37.2\"", "\"v1.37\"", "137", "null"] {
            assert!(serde_json::from_str::<Rules>(text).is_err(), "{text}");
        }
    }

    /// The default is the newest minor that is released.
    #[test]
    fn the_default_is_no_beta() {
        let released = |rules: &Rules| !rules.compared_with().contains('-');
        assert_eq!(Rules::ALL.into_iter().rfind(released), Some(Rules::default()));
    }
}
