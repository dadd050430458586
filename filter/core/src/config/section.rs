//! How a section of a [`GatewayConfiguration`](super::GatewayConfiguration) is declared: each field with its default and its
//! bounds in one place.

use std::ops::RangeInclusive;

/// A number of a [`GatewayConfiguration`](super::GatewayConfiguration) and its bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// The field's path.
    pub field: String,
    /// Its value.
    pub value: u32,
    /// What is allowed.
    pub allowed: RangeInclusive<u32>,
    /// The same in words.
    pub rule: String,
}

/// Makes a section of its fields. A field is `name: type = default`, and a number has the range it must be in after that. Where another
/// field of the section bounds it further: `at least` that one, `at most` that one.
///
/// ```text
/// section! {
///     /// When the issuers' key sets are fetched.
///     KeySetPolicy
///         /// Seconds for which a key set without cache headers is fresh.
///         default_lifetime_seconds: u32 = 300, 1..=604_800, at least minimum_lifetime_seconds;
/// }
/// ```
macro_rules! section {
    ($(#[$attribute:meta])* $section:ident $(
        $(#[$about:meta])* $field:ident: $type:ty = $default:expr
        $(, $range:expr $(, at least $least:ident)? $(, at most $most:ident)?)?;
    )+) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(rename_all = "camelCase", deny_unknown_fields, default)]
        pub struct $section {
            $($(#[$about])* pub $field: $type,)+
        }

        impl Default for $section {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl $section {
            /// Its numbers and their bounds; `path` is the section's own.
            #[must_use]
            pub(super) fn bounds(&self, path: &str) -> Vec<$crate::config::section::Bound> {
                #[allow(unused_mut, reason = "a section may have no numbers")]
                let mut bounds = Vec::new();
                $($(
                    #[allow(unused_mut, reason = "most have a range alone")]
                    let mut bound =
                        $crate::config::section::bound(path, stringify!($field), self.$field, $range);
                    $(bound.at_least(path, stringify!($least), self.$least);)?
                    $(bound.at_most(path, stringify!($most), self.$most);)?
                    bounds.push(bound);
                )?)+
                let _ = path;
                bounds
            }
        }
    };
}

pub(super) use section;

/// The bound of a field that is written in Rust's form.
pub(super) fn bound(path: &str, field: &str, value: u32, allowed: RangeInclusive<u32>) -> Bound {
    let rule = format!("{} to {}", allowed.start(), allowed.end());
    Bound { field: full(path, field), value, allowed, rule }
}

impl Bound {
    /// Narrows it to what is no less than another field.
    pub(super) fn at_least(&mut self, path: &str, field: &str, least: u32) {
        self.allowed = *self.allowed.start().max(&least)..=*self.allowed.end();
        self.rule = format!("{}, at least {}", self.rule, full(path, field));
    }

    /// Narrows it to what is no more than another field.
    pub(super) fn at_most(&mut self, path: &str, field: &str, most: u32) {
        self.allowed = *self.allowed.start()..=*self.allowed.end().min(&most);
        self.rule = format!("{}, at most {}", self.rule, full(path, field));
    }
}

/// A field's path in a document: `keySets.timeoutSeconds` of `keySets` and `timeout_seconds`.
fn full(path: &str, field: &str) -> String {
    let mut words = field.split('_');
    let mut full = format!("{path}.{}", words.next().unwrap_or_default());
    for word in words {
        let mut letters = word.chars();
        full.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        full.push_str(letters.as_str());
    }
    full
}

#[cfg(test)]
mod tests {
    section! {
        /// Nothing real.
        Example
            /// A number.
            first_seconds: u32 = 2, 1..=9, at most last_seconds;
            /// Another.
            last_seconds: u32 = 5, 0..=60;
            /// No number.
            enabled: bool = true;
    }

    #[test]
    fn a_field_has_its_default_and_its_bounds() {
        let example = Example::default();
        assert_eq!((example.first_seconds, example.last_seconds, example.enabled), (2, 5, true));
        let bounds = example.bounds("example");
        let shown: Vec<_> =
            bounds.iter().map(|b| (b.field.as_str(), b.value, b.rule.as_str())).collect();
        assert_eq!(
            shown,
            [
                ("example.firstSeconds", 2, "1 to 9, at most example.lastSeconds"),
                ("example.lastSeconds", 5, "0 to 60"),
            ]
        );
        assert_eq!(bounds[0].allowed, 1..=5);
    }
}
