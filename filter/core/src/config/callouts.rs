//! Servers beside the issuers and the API server that the filter asks, and the credentials that Envoy shows them.
//!
//! The filter knows the paths of the files and nothing that is in them: Envoy reads them, and adds what they hold to the requests of one
//! cluster, to which no route leads.

use kube_authn::discovery::Endpoint;
use serde::Serialize;
use serde_json::Value;

use super::section::{FromValue, plain_section, word};

plain_section! {
    /// How the gateway proves to a server who it is. At most one of the fields is given. Envoy watches the folders of the files: what is
    /// renewed there counts at once.
    CalloutCredential
        /// A token that Envoy gets by client credentials (RFC 6749, section 4.4), and renews.
        oauth2: ClientCredentials = ClientCredentials::default();
        /// A token that the program gets with an assertion, signed by a private key (RFC 7523), and renews. Envoy reads it from a file of the
        /// program's.
        assertion: SignedAssertion = SignedAssertion::default();
        /// A file with a bearer token. Its last line may end.
        bearer_token_file: String = String::new();
        /// A file with the base64 of `NAME:PASSWORD` (RFC 7617).
        basic_file: String = String::new();
        /// A client certificate.
        client_certificate: ClientCertificate = ClientCertificate::default();
}

plain_section! {
    /// Client credentials (RFC 6749, section 4.4).
    ClientCredentials
        /// The issuer's token endpoint, an https URL.
        token_endpoint: String = String::new();
        /// The client's id.
        client_id: String as "clientID" = String::new();
        /// A file with the client's secret.
        client_secret_file: String = String::new();
        /// The scopes to ask for.
        scopes: Vec<String> = Vec::new();
        /// Sends the id and the secret in the body and not as HTTP Basic (RFC 6749, section 2.3.1).
        secret_in_body: bool = false;
}

plain_section! {
    /// A key that says who asks for a token (RFC 7523). It is read again for each token, and when it has changed.
    SignedAssertion
        /// The issuer's token endpoint, an https URL.
        token_endpoint: String = String::new();
        /// What the assertion is good for.
        grant: AssertionGrant = AssertionGrant::ClientCredentials;
        /// The client's id, which the assertion has as `iss`: at Google the service account's e-mail address.
        client_id: String as "clientID" = String::new();
        /// With `jwtBearer`: who the token is to be, which the assertion has as `sub`. At Google an administrator, with domain-wide delegation.
        subject: String = String::new();
        /// A file with the private key: PEM, of RSA or P-256; or Google's JSON, which has its key's id, too.
        key_file: String = String::new();
        /// The key's id at the issuer, which the assertion has as `kid`.
        key_id: String as "keyID" = String::new();
        /// The scopes to ask for.
        scopes: Vec<String> = Vec::new();
        /// The assertion's `aud`; empty means the token endpoint.
        audience: String = String::new();
}

plain_section! {
    /// A certificate with its key, PEM files in one folder.
    ClientCertificate
        /// The certificate, followed by its intermediates.
        certificate_file: String = String::new();
        /// The private key.
        key_file: String = String::new();
}

/// What a signed assertion is good for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum AssertionGrant {
    /// It proves who the client is that asks by client credentials (section 2.2): `private_key_jwt`, as at Okta.
    #[default]
    ClientCredentials,
    /// It is itself what is given for the token (section 2.1), as at Google.
    JwtBearer,
}

impl FromValue for AssertionGrant {
    fn from_value(value: Value) -> Result<Self, String> {
        let words =
            [("clientCredentials", Self::ClientCredentials), ("jwtBearer", Self::JwtBearer)];
        word(value, &words)
    }
}

/// A [`CalloutCredential`] that can be meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckedCredential<'a> {
    /// The server asks nobody who it is, or takes the user's own token.
    None,
    /// See [`ClientCredentials`].
    OAuth2(&'a ClientCredentials),
    /// See [`SignedAssertion`].
    Assertion(&'a SignedAssertion),
    /// The file of a bearer token.
    Bearer(&'a str),
    /// The file of a name and a password.
    Basic(&'a str),
    /// See [`ClientCertificate`].
    Certificate(&'a ClientCertificate),
}

/// What cannot be meant: the path of a field, its value, and why.
pub(super) type CalloutFault = (String, String, &'static str);

impl CalloutCredential {
    /// What is given.
    ///
    /// # Errors
    /// If something is half given, or more than one.
    pub(super) fn checked(&self) -> Result<CheckedCredential<'_>, CalloutFault> {
        let fault = |field: &str, got: &str, why| Err((field.to_owned(), got.to_owned(), why));
        let Self { oauth2, assertion, bearer_token_file, basic_file, client_certificate } = self;
        let mut given = Vec::new();
        if *oauth2 != ClientCredentials::default() {
            if let Some((field, got, why)) = oauth2.fault() {
                return fault(&format!("oauth2.{field}"), got, why);
            }
            given.push(CheckedCredential::OAuth2(oauth2));
        }
        if *assertion != SignedAssertion::default() {
            if let Some((field, got, why)) = assertion.fault() {
                return fault(&format!("assertion.{field}"), got, why);
            }
            given.push(CheckedCredential::Assertion(assertion));
        }
        let files = [
            ("bearerTokenFile", bearer_token_file),
            ("basicFile", basic_file),
            ("clientCertificate.certificateFile", &client_certificate.certificate_file),
            ("clientCertificate.keyFile", &client_certificate.key_file),
        ];
        for (field, path) in files {
            if !path.is_empty() && !is_path(path) {
                return fault(field, path, ABSOLUTE);
            }
        }
        if !bearer_token_file.is_empty() {
            given.push(CheckedCredential::Bearer(bearer_token_file));
        }
        if !basic_file.is_empty() {
            given.push(CheckedCredential::Basic(basic_file));
        }
        if *client_certificate != ClientCertificate::default() {
            let ClientCertificate { certificate_file, key_file } = client_certificate;
            if certificate_file.is_empty() || key_file.is_empty() {
                let why = "must have certificateFile and keyFile";
                return fault("clientCertificate", "", why);
            }
            given.push(CheckedCredential::Certificate(client_certificate));
        }
        match given.as_slice() {
            [] => Ok(CheckedCredential::None),
            [one] => Ok(*one),
            _ => Err((String::new(), String::new(), "must have one of its fields, and no other")),
        }
    }

    /// What is given, of one that has been checked.
    #[must_use]
    pub fn given(&self) -> CheckedCredential<'_> {
        self.checked().unwrap_or(CheckedCredential::None)
    }
}

const ABSOLUTE: &str = "must be an absolute path without control characters";

/// A field, its value, and what is wrong with it.
type FieldFault<'a> = (&'static str, &'a str, &'static str);

impl ClientCredentials {
    fn fault(&self) -> Option<FieldFault<'_>> {
        let Self { token_endpoint, client_id, client_secret_file, scopes, .. } = self;
        client_fault(token_endpoint, client_id, ("clientSecretFile", client_secret_file), scopes)
    }
}

impl SignedAssertion {
    fn fault(&self) -> Option<FieldFault<'_>> {
        let Self { token_endpoint, client_id, subject, key_file, key_id, scopes, audience, .. } =
            self;
        let fault = client_fault(token_endpoint, client_id, ("keyFile", key_file), scopes);
        if fault.is_some() {
            return fault;
        }
        if !subject.is_empty() && self.grant != AssertionGrant::JwtBearer {
            return Some(("subject", subject, "must not be given without grant jwtBearer"));
        }
        let texts = [("subject", subject), ("keyID", key_id), ("audience", audience)];
        let bad = texts.into_iter().find(|(_, text)| text.chars().any(char::is_control));
        bad.map(|(field, text)| (field, text.as_str(), "must have no control character"))
    }
}

fn client_fault<'a>(
    token_endpoint: &'a str,
    client_id: &'a str,
    (file_field, file): (&'static str, &'a str),
    scopes: &'a [String],
) -> Option<FieldFault<'a>> {
    // RFC 6749, appendix A, but for what separates scopes.
    let is_word = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_graphic());
    if Endpoint::parse(token_endpoint).is_err() {
        return Some(("tokenEndpoint", token_endpoint, "must be an https URL"));
    }
    if !is_word(client_id) {
        return Some(("clientID", client_id, "must be printable ASCII without a blank"));
    }
    if !is_path(file) {
        return Some((file_field, file, ABSOLUTE));
    }
    let scope = scopes.iter().find(|scope| !is_word(scope));
    scope.map(|it| ("scopes", it.as_str(), "must be printable ASCII without a blank"))
}

/// Whether it is the URL of a server, with nothing behind it but a path where `may_have_path`.
pub(super) fn is_server(url: &str, may_have_path: bool) -> bool {
    let Ok(endpoint) = Endpoint::parse(url) else { return false };
    let target = endpoint.target();
    let plain = !url.contains(['?', '#', '\\', '%']) && !url.ends_with('/');
    plain && url.is_ascii() && (target == "/" || may_have_path && is_plain_path(target))
}

/// Whether a path is what it looks like, to whoever reads it.
fn is_plain_path(path: &str) -> bool {
    let mut segments = path.split('/').skip(1);
    segments.all(|segment| !["", ".", ".."].contains(&segment))
}

fn is_path(path: &str) -> bool {
    path.starts_with('/') && !path.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    // Under Node, `#[test]` is wasm-bindgen's.
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    /// Half a credential would ask as nobody; two would leave it to chance which is shown.
    #[test]
    fn a_credential_is_whole_and_one() {
        let oauth2 = |more: Value| {
            let mut it = json!({"tokenEndpoint": "https://login.example/token", "clientID": "c",
                "clientSecretFile": "/s"});
            it.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({"oauth2": it})
        };
        let assertion = |more: Value| {
            let mut it = json!({"tokenEndpoint": "https://login.example/token", "clientID": "c",
                "keyFile": "/k"});
            it.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({"assertion": it})
        };
        for (credential, want) in [
            (json!({}), Ok("None")),
            (assertion(json!({"keyID": "1", "scopes": ["okta.groups.read"]})), Ok("Assertion")),
            (
                assertion(json!({"grant": "jwtBearer", "subject": "admin@a.example"})),
                Ok("Assertion"),
            ),
            (assertion(json!({"subject": "admin@a.example"})), Err("assertion.subject")),
            (assertion(json!({"keyFile": "k"})), Err("assertion.keyFile")),
            (assertion(json!({"clientID": ""})), Err("assertion.clientID")),
            (assertion(json!({"tokenEndpoint": "login"})), Err("assertion.tokenEndpoint")),
            (assertion(json!({"audience": "a\n"})), Err("assertion.audience")),
            (assertion(json!({"scopes": [""]})), Err("assertion.scopes")),
            (oauth2(json!({})), Ok("OAuth2")),
            (oauth2(json!({"scopes": ["https://graph.example/.default"]})), Ok("OAuth2")),
            (json!({"bearerTokenFile": "/t"}), Ok("Bearer")),
            (json!({"basicFile": "/b"}), Ok("Basic")),
            (
                json!({"clientCertificate": {"certificateFile": "/c", "keyFile": "/k"}}),
                Ok("Certificate"),
            ),
            (json!({"bearerTokenFile": "t"}), Err("bearerTokenFile")),
            (json!({"bearerTokenFile": "/t\n"}), Err("bearerTokenFile")),
            (json!({"bearerTokenFile": "/t", "basicFile": "/b"}), Err("")),
            (json!({"clientCertificate": {"certificateFile": "/c"}}), Err("clientCertificate")),
            (oauth2(json!({"tokenEndpoint": "http://login.example"})), Err("oauth2.tokenEndpoint")),
            (oauth2(json!({"clientID": ""})), Err("oauth2.clientID")),
            (oauth2(json!({"clientSecretFile": ""})), Err("oauth2.clientSecretFile")),
            (oauth2(json!({"scopes": ["a b"]})), Err("oauth2.scopes")),
        ] {
            let read: CalloutCredential = serde_json::from_value(credential.clone()).unwrap();
            match (read.checked(), want) {
                (Ok(got), Ok(want)) => assert!(format!("{got:?}").starts_with(want), "{got:?}"),
                (Err((field, ..)), Err(want)) => assert_eq!(field, want, "{credential}"),
                (got, want) => panic!("{credential}: {got:?} / {want:?}"),
            }
        }
    }

    #[test]
    fn a_server_is_named_and_nothing_on_it() {
        for (url, alone, with_path) in [
            ("https://graph.example", true, true),
            ("https://graph.example:8443", true, true),
            ("https://graph.example/auth", false, true),
            ("https://graph.example/", false, false),
            ("https://graph.example/a/../b", false, false),
            ("https://graph.example//a", false, false),
            ("https://graph.example/a%2fb", false, false),
            ("https://graph.example/a?b", false, false),
            ("https://graph.example#a", false, false),
            ("https://u@graph.example", false, false),
            ("http://graph.example", false, false),
            ("https://", false, false),
        ] {
            assert_eq!((is_server(url, false), is_server(url, true)), (alone, with_path), "{url}");
        }
    }
}
