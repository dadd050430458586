//! What an issuer says of a user: ID tokens (OpenID Connect Core, section 2), userinfo, distributed claims.

use ring::digest;
use serde_json::{Map, Value, json};

use crate::{
    config::{ClientConfig, User},
    encoding::{base64url, random_id},
    keys::Algorithm,
    logins::{Login, Scope},
    state::State,
};

/// The claims of an ID token.
pub(crate) fn id_token(state: &State, issuer: &str, login: &Login, now: i64) -> Map<String, Value> {
    let client = state.client(&login.client);
    let lifetime = lifetime(state, client);
    let mut claims = Map::new();
    let mut set = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    set("iss", json!(issuer));
    set("aud", audience(&login.client, client));
    set("azp", json!(login.client));
    set("iat", json!(now));
    set("exp", json!(now + lifetime));
    set("auth_time", json!(login.auth_time));
    if let Some(acr) = &login.acr {
        set("acr", json!(acr));
    }
    if state.config.nbf {
        set("nbf", json!(now));
    }
    if state.config.jti {
        set("jti", json!(random_id()));
    }
    if let Some(nonce) = &login.nonce {
        set("nonce", json!(nonce));
    }
    claims.extend(identity(state, login));
    claims
}

/// The claims of a JWT access token: those of the ID token with the scope, and without what belongs to the login.
pub(crate) fn access_token(
    state: &State,
    issuer: &str,
    login: &Login,
    now: i64,
) -> Map<String, Value> {
    let mut claims = id_token(state, issuer, login, now);
    claims.remove("nonce");
    // Two logins in one second have to get different access tokens.
    claims.insert("jti".to_owned(), json!(random_id()));
    claims.insert("scope".to_owned(), json!(login.scope.text()));
    claims.insert("client_id".to_owned(), json!(login.client));
    claims
}

/// Who a login is, without anything about the token: also the answer of the userinfo endpoint.
pub(crate) fn identity(state: &State, login: &Login) -> Map<String, Value> {
    match login.user.as_deref().map(|name| state.user(name)) {
        Some(Some(user)) => of_user(user, &login.scope),
        Some(None) => Map::new(),
        None => {
            let mut claims = Map::new();
            claims.insert("sub".to_owned(), json!(login.client));
            claims.insert("client_id".to_owned(), json!(login.client));
            claims
        }
    }
}

/// How long tokens for a client live, in seconds.
pub(crate) fn lifetime(state: &State, client: Option<&ClientConfig>) -> i64 {
    let own = client.and_then(|client| client.token_lifetime_seconds);
    own.unwrap_or(state.config.token_lifetime_seconds).into()
}

/// `at_hash`: the left half of the access token's hash, by the hash of the ID token's algorithm (OpenID Connect Core,
/// section 3.1.3.6).
pub(crate) fn access_token_hash(access_token: &str, algorithm: Algorithm) -> String {
    let hash = match algorithm {
        Algorithm::Rs256 | Algorithm::Ps256 | Algorithm::Es256 => &digest::SHA256,
        Algorithm::Rs384 | Algorithm::Ps384 | Algorithm::Es384 => &digest::SHA384,
        // ML-DSA has no hash to go by; what go-oidc does not look at is left to the issuer.
        Algorithm::Rs512
        | Algorithm::Ps512
        | Algorithm::Es512
        | Algorithm::MlDsa44
        | Algorithm::MlDsa65
        | Algorithm::MlDsa87 => &digest::SHA512,
    };
    let digest = digest::digest(hash, access_token.as_bytes());
    base64url(&digest.as_ref()[..digest.as_ref().len() / 2])
}

/// Claims by scope as OpenID Connect Core, section 5.4, has it, and `groups` by the scope of that name.
fn of_user(user: &User, scope: &Scope) -> Map<String, Value> {
    let mut claims = Map::new();
    let mut set = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    set("sub", json!(user.sub_claim()));
    if scope.has("profile") {
        set("name", json!(user.full_name.as_ref().unwrap_or(&user.name)));
        set("preferred_username", json!(user.name));
    }
    if let Some(email) = user.email.as_ref().filter(|_| scope.has("email")) {
        set("email", json!(email));
        set("email_verified", json!(user.email_verified));
    }
    if scope.has("groups") {
        set("groups", json!(user.groups));
    }
    claims.extend(user.claims.clone());
    claims.retain(|_, value| !value.is_null());
    claims
}

fn audience(client_id: &str, client: Option<&ClientConfig>) -> Value {
    let extra = client.map(|client| client.extra_audiences.as_slice()).unwrap_or_default();
    if extra.is_empty() {
        return json!(client_id);
    }
    let own = std::iter::once(client_id);
    own.chain(extra.iter().map(String::as_str)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_choose_claims() {
        let user = User::new("u", "p")
            .email("u@x")
            .groups(["g"])
            .claim("hd", "x")
            .claim("gone", Value::Null);
        for (scope, want) in [
            ("openid", json!({"sub": "u", "hd": "x"})),
            ("profile", json!({"sub": "u", "hd": "x", "name": "u", "preferred_username": "u"})),
            ("email", json!({"sub": "u", "hd": "x", "email": "u@x", "email_verified": true})),
            ("address", json!({"sub": "u", "hd": "x"})),
            ("groups", json!({"sub": "u", "hd": "x", "groups": ["g"]})),
        ] {
            assert_eq!(Value::Object(of_user(&user, &Scope::parse(scope))), want, "{scope}");
        }
    }

    /// The example of OpenID Connect Core, appendix A.3.
    #[test]
    fn at_hash() {
        let token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
        assert_eq!(access_token_hash(token, Algorithm::Rs256), "77QmUPtjPfzWtF2AnpK9RQ");
        assert_eq!(access_token_hash(token, Algorithm::Es512).len(), 43, "32 bytes");
    }
}
