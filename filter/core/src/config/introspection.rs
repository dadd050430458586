//! `introspection`: issuers that are asked about their tokens (RFC 7662).

use std::time::Duration;

use kube_authn::{AuthenticationConfiguration, discovery::Endpoint};
use serde::Serialize;
use serde_json::Value;

use super::{
    callouts::CalloutCredential,
    section::{Bound, FromValue, plain_section, word},
};

/// What the names of [`PluginConfiguration::callout_clusters`](super::PluginConfiguration) begin with for introspection.
pub const INTROSPECTION: &str = "introspection";
/// How many there may be.
const MOST: usize = 64;
/// Bytes of a name.
const MOST_NAME: usize = 40;
/// Bytes of a prefix.
const MOST_PREFIX: usize = 64;
/// How every JWT begins: its header is an object, in base64url.
const JWT: &str = "ey";

plain_section! {
    /// An issuer that is asked about its tokens (RFC 7662). What it says of an active one is held to the rules that the
    /// `AuthenticationConfiguration` has for this issuer's tokens: audiences, times, mappings and rules.
    Introspection
        /// Its name, of lower-case letters, digits and `-`: in the names of clusters.
        name: String = String::new();
        /// The issuer: `issuer.url` of the `AuthenticationConfiguration`.
        issuer: String = String::new();
        /// The URL of its introspection endpoint, by https.
        endpoint: String = String::new();
        /// The PEM certificates of the CAs that may sign the endpoint's certificate; empty means the issuer's where both are one host, else
        /// the system's.
        certificate_authority: String = String::new();
        /// How the gateway proves who it is: most issuers want a client's id and secret (`basicFile`). Envoy adds it; the filter never has it.
        credential: CalloutCredential = CalloutCredential::default();
        /// Which tokens it is asked about. No token is tried at several issuers.
        tokens: IntrospectedTokens = IntrospectedTokens::Opaque;
        /// What its opaque tokens begin with. Empty: every token that is no JWT and begins with no other item's prefix; one item alone
        /// can have that.
        token_prefix: String = String::new();
        /// Seconds for which an active token is not asked about again, at most until it expires. A token that was revoked is good for so
        /// long.
        lifetime_seconds: u32 = 60, 1..=86_400;
        /// Seconds for which a token is refused without another question once it was found not to be active.
        negative_lifetime_seconds: u32 = 10, 1..=300;
        /// Seconds that an answer may take; then the request is refused with 503.
        timeout_seconds: u32 = 5, 1..=14;
        /// Questions in a second about tokens that turn out to be good for nothing, for each client address (for IPv6 each /64), and up to
        /// ten seconds' worth at once; beyond that a token is refused unasked, with 429. All addresses together get ten times as many.
        requests_per_second: u32 = 20, 1..=10_000;
}

/// Which tokens of an issuer are introspected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum IntrospectedTokens {
    /// Those that are no JWT, or begin with `tokenPrefix`. The issuer's JWTs are read as they are.
    #[default]
    Opaque,
    /// Its JWTs, by their `iss`, once their signature and times have been checked: for issuers whose JWTs do not say who the user is.
    /// Their audience is that of the answer.
    Jwt,
}

impl FromValue for IntrospectedTokens {
    fn from_value(value: Value) -> Result<Self, String> {
        word(value, &[("opaque", Self::Opaque), ("jwt", Self::Jwt)])
    }
}

/// An endpoint that can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntrospectionEndpoint {
    /// The issuer's place among the authenticators.
    pub issuer: usize,
    /// The Envoy cluster that reaches the endpoint, with the gateway's credential for it.
    pub cluster: String,
    /// `:authority`
    pub authority: String,
    /// `:path`
    pub path: String,
    /// What the configuration says.
    pub policy: Introspection,
}

impl Introspection {
    /// How the filter's configuration calls it where it names a cluster (`calloutClusters`).
    #[must_use]
    pub fn asker(&self) -> String {
        format!("{INTROSPECTION}/{}", self.name)
    }

    /// [`Self::timeout_seconds`].
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds.into())
    }

    /// [`Self::lifetime_seconds`].
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        Duration::from_secs(self.lifetime_seconds.into())
    }

    /// [`Self::negative_lifetime_seconds`].
    #[must_use]
    pub fn negative_lifetime(&self) -> Duration {
        Duration::from_secs(self.negative_lifetime_seconds.into())
    }

    fn all_bounds(&self, path: &str) -> Vec<Bound> {
        let mut bounds = self.bounds(path);
        if let Some(bound) =
            bounds.iter_mut().find(|bound| bound.field.ends_with(".negativeLifetimeSeconds"))
        {
            bound.at_most(path, "lifetime_seconds", self.lifetime_seconds);
        }
        bounds
    }

    fn fault(&self, before: &[Self]) -> Option<(String, String, String)> {
        let fault = |field: &str, got: &str, why: &str| {
            Some((field.to_owned(), got.to_owned(), why.to_owned()))
        };
        let Self { name, issuer, endpoint, credential, tokens, token_prefix: prefix, .. } = self;
        if !is_name(name) {
            let why =
                "must be a lower-case name of letters, digits and '-', of at most 40 characters";
            return fault("name", name, why);
        }
        if before.iter().any(|other| other.name == *name) {
            return fault("name", name, "must be no other item's name");
        }
        if let Err(error) = Endpoint::parse(endpoint) {
            return fault("endpoint", endpoint, &error.to_string());
        }
        if let Err((field, got, why)) = credential.checked() {
            let field = format!("credential.{field}");
            return Some((field.trim_end_matches('.').to_owned(), got, why.to_owned()));
        }
        if *tokens == IntrospectedTokens::Jwt {
            let same = |other: &Self| other.issuer == *issuer && other.tokens == *tokens;
            if before.iter().any(same) {
                return fault("issuer", issuer, "must have one item alone where tokens is jwt");
            }
            let why = "must be empty where tokens is jwt: JWTs are told by their issuer";
            return if prefix.is_empty() { None } else { fault("tokenPrefix", prefix, why) };
        }
        if prefix.len() > MOST_PREFIX || !prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
            let why = "must be printable ASCII without blanks, at most 64 bytes";
            return fault("tokenPrefix", prefix, why);
        }
        if !prefix.is_empty() && (prefix.starts_with(JWT) || JWT.starts_with(prefix.as_str())) {
            return fault("tokenPrefix", prefix, "must not be how a JWT begins (ey)");
        }
        let is_opaque = |other: &&Self| other.tokens == IntrospectedTokens::Opaque;
        before.iter().filter(is_opaque).find_map(|other| {
            let theirs = other.token_prefix.as_str();
            match (prefix.as_str(), theirs) {
                ("", "") => fault("tokenPrefix", "", "must be given: another item has none"),
                ("", _) | (_, "") => None,
                (ours, theirs) if ours.starts_with(theirs) || theirs.starts_with(ours) => {
                    let why = format!("must not begin as another item's, {theirs:?}, does");
                    fault("tokenPrefix", ours, &why)
                }
                _ => None,
            }
        })
    }
}

/// A label of DNS (RFC 1123, section 2.1).
fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=MOST_NAME).contains(&name.len())
        && name.bytes().all(fits)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Their numbers. Where there are none, those of an item that says nothing more: the reference is made of them.
pub(super) fn bounds(all: &[Introspection]) -> Vec<Bound> {
    if all.is_empty() {
        return Introspection::default().all_bounds("introspection[]");
    }
    let bounds =
        |(index, one): (usize, &Introspection)| one.all_bounds(&format!("introspection[{index}]"));
    all.iter().enumerate().flat_map(bounds).collect()
}

/// What cannot be meant: the path of a field, its value, and why.
pub(super) fn fault(all: &[Introspection]) -> Option<(String, String, String)> {
    if all.len() > MOST {
        let why = format!("must have at most {MOST} items");
        return Some(("introspection".to_owned(), all.len().to_string(), why));
    }
    all.iter().enumerate().find_map(|(index, one)| {
        let (field, got, why) = one.fault(all.get(..index).unwrap_or_default())?;
        Some((format!("introspection[{index}].{field}"), got, why))
    })
}

/// An item of `introspection` whose issuer there is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "introspection[{index}].issuer: Invalid value: {issuer:?}: no such issuer in the AuthenticationConfiguration"
)]
pub struct UnknownIntrospected {
    index: usize,
    issuer: String,
}

/// The place of each item's issuer among the authenticators.
///
/// # Errors
/// The first issuer that is none.
pub fn introspected_issuers(
    all: &[Introspection],
    authentication: &AuthenticationConfiguration,
) -> Result<Vec<usize>, UnknownIntrospected> {
    let place = |(index, one): (usize, &Introspection)| {
        let mut issuers = authentication.jwt().iter();
        let found = issuers.position(|jwt| jwt.issuer_url() == one.issuer);
        found.ok_or_else(|| UnknownIntrospected { index, issuer: one.issuer.clone() })
    };
    all.iter().enumerate().map(place).collect()
}

impl IntrospectionEndpoint {
    pub(super) fn new(policy: &Introspection, issuer: usize, cluster: String) -> Option<Self> {
        let endpoint = Endpoint::parse(&policy.endpoint).ok()?;
        let (authority, path) = (endpoint.authority().to_owned(), endpoint.target().to_owned());
        Some(Self { issuer, cluster, authority, path, policy: policy.clone() })
    }
}

/// The place of the item by which a token is asked about that begins so, whatever it is.
#[must_use]
pub fn by_prefix(all: &[Introspection], token: &[u8]) -> Option<usize> {
    all.iter().position(|one| {
        let prefix = one.token_prefix.as_bytes();
        !prefix.is_empty() && token.starts_with(prefix)
    })
}

/// The place of the item by which every other token is asked about that is no JWT.
#[must_use]
pub fn for_opaque(all: &[Introspection]) -> Option<usize> {
    all.iter()
        .position(|one| one.tokens == IntrospectedTokens::Opaque && one.token_prefix.is_empty())
}

/// The place of the item by which the JWTs of an issuer are asked about.
#[must_use]
pub fn for_jwts(all: &[Introspection], issuer_url: &str) -> Option<usize> {
    all.iter().position(|one| one.tokens == IntrospectedTokens::Jwt && one.issuer == issuer_url)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    // Under Node, `#[test]` is wasm-bindgen's.
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use crate::config::{API_VERSION, GatewayConfiguration, KIND};

    fn read(introspection: &Value) -> Result<(), String> {
        let document =
            json!({"apiVersion": API_VERSION, "kind": KIND, "introspection": introspection});
        GatewayConfiguration::from_value(document).map(|_| ()).map_err(|error| error.to_string())
    }

    #[test]
    fn introspection_is_strict_and_every_error_names_its_field() {
        let item = |name: &str, more: Value| {
            let mut item = json!({"name": name, "issuer": "https://a", "endpoint": "https://i.example/introspect"});
            item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            item
        };
        let one = |more: Value| json!([item("a", more)]);
        let two = |a: Value, b: Value| json!([item("a", a), item("b", b)]);
        let prefix = |prefix: &str| json!({"tokenPrefix": prefix});
        let jwt = || json!({"tokens": "jwt"});
        for good in [
            json!([]),
            one(json!({})),
            one(json!({"lifetimeSeconds": 5, "negativeLifetimeSeconds": 5})),
            one(json!({"credential": {"basicFile": "/b"}})),
            two(json!({}), prefix("b_")),
            two(prefix("a_"), prefix("b_")),
            two(jwt(), json!({})),
            two(jwt(), json!({"tokens": "jwt", "issuer": "https://b"})),
        ] {
            assert_eq!(read(&good), Ok(()), "{good}");
        }
        for (introspection, want) in [
            (
                two(jwt(), jwt()),
                "introspection[1].issuer: Invalid value: \"https://a\": must have one item alone",
            ),
            (
                one(json!({"name": "A"})),
                "introspection[0].name: Invalid value: \"A\": must be a lower-case name",
            ),
            (one(json!({"name": "a".repeat(41)})), "introspection[0].name"),
            (
                one(json!({"endpoint": "http://i.example/"})),
                "introspection[0].endpoint: Invalid value: \"http://i.example/\": must be https",
            ),
            (one(json!({"endpoint": ""})), "introspection[0].endpoint"),
            (
                one(json!({"endpoint": "https://u:p@i.example/"})),
                "must not contain a username or password",
            ),
            (
                one(prefix("a b")),
                "introspection[0].tokenPrefix: Invalid value: \"a b\": must be printable ASCII",
            ),
            (one(prefix("eyJ")), "must not be how a JWT begins"),
            (one(prefix("e")), "must not be how a JWT begins"),
            (one(prefix(&"a".repeat(65))), "at most 64 bytes"),
            (
                one(json!({"tokens": "jwt", "tokenPrefix": "a_"})),
                "must be empty where tokens is jwt",
            ),
            (
                two(json!({}), json!({})),
                "introspection[1].tokenPrefix: Invalid value: \"\": must be given: another item has none",
            ),
            (
                two(prefix("a_"), prefix("a_b")),
                "introspection[1].tokenPrefix: Invalid value: \"a_b\": must not begin as another item's, \"a_\", does",
            ),
            (two(prefix("a_b"), prefix("a_")), "introspection[1].tokenPrefix"),
            (
                json!([item("a", json!({})), item("a", jwt())]),
                "introspection[1].name: Invalid value: \"a\": must be no other item's name",
            ),
            (
                one(json!({"lifetimeSeconds": 0})),
                "introspection[0].lifetimeSeconds: Invalid value: 0: must be 1 to 86400",
            ),
            (
                one(json!({"lifetimeSeconds": 5})),
                "introspection[0].negativeLifetimeSeconds: Invalid value: 10: must be 1 to 300, at most introspection[0].lifetimeSeconds",
            ),
            (one(json!({"timeoutSeconds": 15})), "introspection[0].timeoutSeconds"),
            (one(json!({"requestsPerSecond": 0})), "introspection[0].requestsPerSecond"),
            (one(json!({"tokens": "all"})), "unknown variant `all`"),
            (one(json!({"prefix": "a"})), "unknown field `prefix`"),
            (
                one(json!({"credential": {"basicFile": "b"}})),
                "introspection[0].credential.basicFile: Invalid value: \"b\": must be an absolute path",
            ),
            (
                one(json!({"credential": {"basicFile": "/b", "bearerTokenFile": "/t"}})),
                "introspection[0].credential: Invalid value",
            ),
            (
                json!(vec![json!({}); 65]),
                "introspection: Invalid value: \"65\": must have at most 64 items",
            ),
        ] {
            let got = read(&introspection).unwrap_err();
            assert!(got.contains(want), "{got} / {want}");
        }
    }
}
