//! `PortalConfiguration`: what a portal is.
//!
//! Written as Kubernetes' own configuration files are: apiVersion, kind, camelCase fields, unknown fields refused. The fields
//! are the flags of `kube-oidc-gateway portal`, too.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use gateway_core::config::API_VERSION;
use gateway_net::{Dns, Host};
use gateway_portal::settings::Network;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::duration::duration;

const AUDIENCE: &str = "github.com/planetlabs/kubehook";
const USER_HEADER: &str = "X-Forwarded-User";
const GROUP_HEADER: &str = "X-Forwarded-Groups";
const DELIMITER: &str = ";";
const TOKENS: u32 = 5;
const SCOPE: &str = "openid";
/// What `--help` puts above the flags of the login.
const LOGIN: &str = "Login with a browser";

/// The `kind` of [`PortalConfiguration`].
pub const KIND: &str = "PortalConfiguration";

/// What a portal is. Every field but `host` has a default; a portal without a key, or whom nobody can ask, is refused.
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
#[derive(Debug, Clone, PartialEq, Eq, Args, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PortalConfiguration {
    /// The name by which the portal is told from the gateway on the same port.
    #[serde(with = "name", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    #[arg(skip)]
    pub host: Option<Dns>,
    /// Files with shared secrets for HS256 tokens.
    #[arg(long, value_name = "FILE")]
    pub secret_file: Vec<PathBuf>,
    /// Accept a shared secret of less than 32 bytes: anyone who has one token can find it by trying, and then make tokens for any user.
    #[arg(long)]
    pub insecure_short_secret: bool,
    /// Private keys on P-256 (PEM) for ES256 tokens; needs `issuer`.
    #[arg(long, value_name = "FILE")]
    pub signing_key_file: Vec<PathBuf>,
    /// The URL under which API servers reach the portal: `iss` of ES256 tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[arg(long, value_name = "URL")]
    pub issuer: Option<String>,
    /// `aud` of the tokens.
    #[arg(long, value_name = "TEXT", default_value = AUDIENCE, env = "KUBEHOOK_AUDIENCE")]
    pub audience: String,
    /// The header that names the user.
    #[arg(long, value_name = "NAME", default_value = USER_HEADER, env = "KUBEHOOK_USER_HEADER")]
    pub user_header: String,
    /// The header that names the user's groups.
    #[arg(long, value_name = "NAME", default_value = GROUP_HEADER, env = "KUBEHOOK_GROUP_HEADER")]
    pub group_header: String,
    /// What separates two groups.
    #[arg(long, value_name = "TEXT", default_value = DELIMITER, env = "KUBEHOOK_GROUP_HEADER_DELIMITER")]
    pub group_header_delimiter: String,
    /// The longest lifetime that can be asked for, such as `12h` or `1h30m`.
    #[serde(with = "span")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    #[arg(long, value_name = "DURATION", default_value = "168h", env = "KUBEHOOK_MAX_LIFETIME", value_parser = duration)]
    pub max_lifetime: Duration,
    /// A kubeconfig with the clusters that users' kubeconfigs are to have.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[arg(long, value_name = "FILE", env = "KUBEHOOK_KUBECFG_TEMPLATE")]
    pub kubecfg_template: Option<PathBuf>,
    /// Mutual TLS: the CA whose certificates clients must show (PEM). Their headers are believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[arg(long, value_name = "FILE", env = "KUBEHOOK_CLIENT_CA")]
    pub client_ca: Option<PathBuf>,
    /// The DNS name that clients' certificates must be for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[arg(long, value_name = "NAME", env = "KUBEHOOK_CLIENT_CA_SUBJECT")]
    pub client_ca_subject: Option<String>,
    /// The certificate chain that clients see (PEM); without it, the gateway's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[arg(long, value_name = "FILE", env = "KUBEHOOK_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key (PEM), in the same directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[arg(long, value_name = "FILE", env = "KUBEHOOK_TLS_KEY")]
    pub tls_key: Option<PathBuf>,
    /// Networks whose peers' headers are believed: an address, with the bits that count behind a slash.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    #[arg(long, value_name = "ADDRESS[/BITS]")]
    pub trust_network: Vec<Network>,
    /// Believe everybody's headers, as kubehook does: only for a portal that nobody but a proxy can reach.
    #[arg(long)]
    pub insecure_trust_header: bool,
    /// Let a token live longer than the login that it was made with.
    #[arg(long)]
    pub outlive_login: bool,
    /// Origins whose pages may post, beside the portal's own.
    #[arg(long, value_name = "ORIGIN")]
    pub origin: Vec<String>,
    /// Names under which the portal is reached, if requests for others are to be refused.
    #[serde(with = "names")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    #[arg(long, value_name = "NAME", value_parser = dns)]
    pub allowed_host: Vec<Dns>,
    /// Answer whatever name a request has, without TLS too: any web page can then ask in its reader's place (DNS rebinding).
    #[arg(long)]
    pub insecure_any_host: bool,
    /// How many tokens one user gets in a second.
    #[arg(long, value_name = "N", default_value_t = TOKENS)]
    pub tokens_per_second: u32,
    /// Log users in at an issuer of the gateway's, as this client; its redirect URI is URL/oauth2/callback.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[arg(long, value_name = "ID", help_heading = LOGIN)]
    pub login_client_id: Option<String>,
    /// A file with the client's secret: these very bytes, without a line end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[arg(long, value_name = "FILE", help_heading = LOGIN)]
    pub login_client_secret_file: Option<PathBuf>,
    /// A file with at least 32 random bytes that encrypt and sign the session's cookies; the same for all portals of one name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[arg(long, value_name = "FILE", help_heading = LOGIN)]
    pub login_cookie_secret_file: Option<PathBuf>,
    /// Under which people open the portal, as `https://portal.example`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[arg(long, value_name = "URL", help_heading = LOGIN)]
    pub url: Option<String>,
    /// The issuer of the login; absent, the only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[arg(long, value_name = "URL", help_heading = LOGIN)]
    pub login_issuer: Option<String>,
    /// What is asked for at the login.
    #[arg(long, value_name = "SCOPE", default_value = SCOPE, value_delimiter = ',', help_heading = LOGIN)]
    pub login_scope: Vec<String>,
    /// Where the browser is sent to; absent, as the issuer's discovery document says, read once at start.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[arg(long, value_name = "URL", help_heading = LOGIN)]
    pub login_authorization_endpoint: Option<String>,
    /// Where codes are exchanged; with a secret in the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[arg(long, value_name = "URL", help_heading = LOGIN)]
    pub login_token_endpoint: Option<String>,
    /// Where the user ends the login at the issuer; absent, as the discovery document says.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[arg(long, value_name = "URL", help_heading = LOGIN)]
    pub login_end_session_endpoint: Option<String>,
    /// Offer kubeconfigs with kubectl-oidc instead of a token, for this client of the login's issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[arg(long, value_name = "ID", help_heading = LOGIN)]
    pub plugin_client_id: Option<String>,
    /// What kubectl-oidc asks for in those kubeconfigs; absent, what `loginScope` says.
    #[arg(long, value_name = "SCOPE", value_delimiter = ',', help_heading = LOGIN)]
    pub plugin_scope: Vec<String>,
}

/// Why a `PortalConfiguration` is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct PortalError {
    /// The field's path.
    pub field: String,
    /// What is wrong.
    pub why: Why,
}

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// It says nothing without others.
    #[error("needs {}", .0.join(" and "))]
    Needs(&'static [&'static str]),
    /// It makes no sense beside another.
    #[error("excludes {0}")]
    Excludes(&'static str),
    /// Something else, in words.
    #[error("{0}")]
    Other(String),
}

impl Default for PortalConfiguration {
    fn default() -> Self {
        Self {
            host: None,
            secret_file: Vec::new(),
            insecure_short_secret: false,
            signing_key_file: Vec::new(),
            issuer: None,
            audience: AUDIENCE.to_owned(),
            user_header: USER_HEADER.to_owned(),
            group_header: GROUP_HEADER.to_owned(),
            group_header_delimiter: DELIMITER.to_owned(),
            max_lifetime: Duration::from_hours(168),
            kubecfg_template: None,
            client_ca: None,
            client_ca_subject: None,
            tls_cert: None,
            tls_key: None,
            trust_network: Vec::new(),
            insecure_trust_header: false,
            outlive_login: false,
            origin: Vec::new(),
            allowed_host: Vec::new(),
            insecure_any_host: false,
            tokens_per_second: TOKENS,
            login_client_id: None,
            login_client_secret_file: None,
            login_cookie_secret_file: None,
            url: None,
            login_issuer: None,
            login_scope: vec![SCOPE.to_owned()],
            login_authorization_endpoint: None,
            login_token_endpoint: None,
            login_end_session_endpoint: None,
            plugin_client_id: None,
            plugin_scope: Vec::new(),
        }
    }
}

impl PortalConfiguration {
    /// The document's JSON schema, with the descriptions of its fields.
    #[cfg(feature = "schema")]
    #[must_use]
    pub fn schema() -> Value {
        schemars::schema_for!(PortalConfiguration).to_value()
    }

    /// Reads a document, YAML or JSON, of a portal beside a gateway. What it does not say is as in `defaults`.
    ///
    /// # Errors
    /// With the field's path.
    pub fn parse(text: &str, defaults: &Self) -> Result<Self, PortalError> {
        let mut fields = match serde_saphyr::from_str(text) {
            Ok(Value::Object(fields)) => fields,
            Ok(_) => return Err(PortalError::other("document", "not an object")),
            Err(error) => {
                let text = error.to_string();
                let line = text.lines().next().unwrap_or("not YAML");
                return Err(PortalError::other("document", line));
            }
        };
        for (field, want) in [("apiVersion", API_VERSION), ("kind", KIND)] {
            if fields.remove(field) != Some(Value::from(want)) {
                return Err(PortalError::other(field, format!("must be {want}")));
            }
        }
        let other = |error: serde_json::Error| PortalError::other("document", error.to_string());
        let mut whole = match serde_json::to_value(defaults).map_err(other)? {
            Value::Object(whole) => whole,
            _ => Map::new(),
        };
        whole.extend(fields);
        let read: Result<Self, _> = serde_path_to_error::deserialize(Value::Object(whole));
        let configuration = read.map_err(|error| {
            let (path, why) = (error.path().to_string(), error.inner().to_string());
            PortalError::other(&path, why)
        })?;
        if configuration.host.is_none() {
            return Err(PortalError::other("host", "Required value"));
        }
        configuration.check()?;
        Ok(configuration)
    }

    /// Checks what several fields say together.
    ///
    /// # Errors
    /// With the field's name.
    pub fn check(&self) -> Result<(), PortalError> {
        let login = ["url", "loginClientSecretFile", "loginCookieSecretFile"];
        let has_login = self.login_client_id.is_some();
        let has = [
            self.url.is_some(),
            self.login_client_secret_file.is_some(),
            self.login_cookie_secret_file.is_some(),
        ];
        if has_login && has != [true; 3] {
            const LOGIN: &[&str] = &["url", "loginClientSecretFile", "loginCookieSecretFile"];
            return Err(PortalError::needs("loginClientId", LOGIN));
        }
        if let Some((field, _)) = login.iter().zip(has).find(|(_, has)| *has && !has_login) {
            return Err(PortalError::needs(field, &["loginClientId"]));
        }
        let endpoints = (&self.login_authorization_endpoint, &self.login_token_endpoint);
        let needed: [(&str, bool, &'static [&'static str]); 6] = [
            ("tlsCert", self.tls_cert.is_some() && self.tls_key.is_none(), &["tlsKey"]),
            ("tlsKey", self.tls_key.is_some() && self.tls_cert.is_none(), &["tlsCert"]),
            (
                "clientCaSubject",
                self.client_ca_subject.is_some() && self.client_ca.is_none(),
                &["clientCa"],
            ),
            (
                "loginAuthorizationEndpoint",
                matches!(endpoints, (Some(_), None)),
                &["loginTokenEndpoint"],
            ),
            (
                "loginTokenEndpoint",
                matches!(endpoints, (None, Some(_))),
                &["loginAuthorizationEndpoint"],
            ),
            (
                "pluginScope",
                !self.plugin_scope.is_empty() && self.plugin_client_id.is_none(),
                &["pluginClientId"],
            ),
        ];
        if let Some((field, _, others)) = needed.into_iter().find(|(_, lacks, _)| *lacks) {
            return Err(PortalError::needs(field, others));
        }
        if self.insecure_any_host && !self.allowed_host.is_empty() {
            let (field, why) = ("insecureAnyHost".to_owned(), Why::Excludes("allowedHost"));
            return Err(PortalError { field, why });
        }
        Ok(())
    }
}

impl PortalError {
    /// A field that says nothing without others.
    #[must_use]
    pub fn needs(field: &str, others: &'static [&'static str]) -> Self {
        Self { field: field.to_owned(), why: Why::Needs(others) }
    }

    /// Something else that is wrong with a field.
    pub fn other(field: &str, why: impl Into<String>) -> Self {
        Self { field: field.to_owned(), why: Why::Other(why.into()) }
    }
}

fn dns(text: &str) -> Result<Dns, String> {
    match text.parse() {
        Ok(Host::Dns(name)) => Ok(name),
        _ => Err(format!("{text:?} is no DNS name")),
    }
}

mod name {
    use gateway_net::Dns;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    #[expect(clippy::ref_option, reason = "serde's form")]
    pub fn serialize<S: Serializer>(name: &Option<Dns>, to: S) -> Result<S::Ok, S::Error> {
        name.as_ref().map(Dns::as_str).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Dns>, D::Error> {
        super::dns(&String::deserialize(from)?).map(Some).map_err(D::Error::custom)
    }
}

mod names {
    use gateway_net::Dns;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(names: &[Dns], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(names.iter().map(Dns::as_str))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Dns>, D::Error> {
        let names = Vec::<String>::deserialize(from)?;
        names.iter().map(|name| super::dns(name).map_err(D::Error::custom)).collect()
    }
}

mod span {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&go_compat::time::format_seconds(span.as_secs()))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        crate::duration::duration(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "apiVersion: gateway.kube-oidc.dev/v1alpha1\nkind: PortalConfiguration\n";

    fn parse(fields: &str) -> Result<PortalConfiguration, String> {
        PortalConfiguration::parse(&format!("{HEAD}{fields}"), &PortalConfiguration::default())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_a_document_says_and_what_it_does_not() {
        let got = parse(
            "host: portal.example\nsecretFile: [/a, /b]\nmaxLifetime: 8h\ntokensPerSecond: 2\n\
             outliveLogin: true\ntrustNetwork: [10.0.0.0/8]\nloginScope: [openid, email]\n\
             groupHeaderDelimiter: \"-\"\nallowedHost: [a.example]\n",
        );
        let host = |name: &str| match name.parse() {
            Ok(Host::Dns(name)) => name,
            _ => panic!("{name}"),
        };
        let want = PortalConfiguration {
            host: Some(host("portal.example")),
            secret_file: vec!["/a".into(), "/b".into()],
            max_lifetime: Duration::from_hours(8),
            tokens_per_second: 2,
            outlive_login: true,
            trust_network: vec!["10.0.0.0/8".parse().unwrap()],
            login_scope: vec!["openid".to_owned(), "email".to_owned()],
            group_header_delimiter: "-".to_owned(),
            allowed_host: vec![host("a.example")],
            ..PortalConfiguration::default()
        };
        assert_eq!(got, Ok(want.clone()));
        // What one says is what the next does not.
        let text = format!("{HEAD}host: b.example");
        let next = PortalConfiguration::parse(&text, &want).unwrap();
        assert_eq!(next, PortalConfiguration { host: Some(host("b.example")), ..want });
    }

    #[test]
    fn what_is_wrong_is_named_by_its_path() {
        for (fields, want) in [
            ("", "host: Required value"),
            ("host: 10.0.0.1", "host: \"10.0.0.1\" is no DNS name"),
            ("host: '*.example'", "is no DNS name"),
            ("host: a\nsecret: x", "secret: unknown field"),
            ("host: a\nlisten: ':1'", "listen: unknown field"),
            ("host: a\nsecretFile: /a", "secretFile: invalid type: string \"/a\""),
            ("host: a\nsecretFile: [/a, 1]", "secretFile[1]: invalid type: integer `1`"),
            ("host: a\noutliveLogin: 'yes'", "outliveLogin: invalid type: string \"yes\""),
            ("host: a\naudience: [a]", "audience: invalid type: sequence"),
            ("host: a\nmaxLifetime: 1d", "maxLifetime: \"1d\" is no duration"),
            ("host: a\ntrustNetwork: [a]", "trustNetwork[0]: "),
            ("host: a\nallowedHost: ['a:1']", "allowedHost: \"a:1\" is no DNS name"),
            ("host: a\ntlsCert: /a", "tlsCert: needs tlsKey"),
            ("host: a\nclientCaSubject: a", "clientCaSubject: needs clientCa"),
            ("host: a\nurl: https://a", "url: needs loginClientId"),
            ("host: a\npluginScope: [groups]", "pluginScope: needs pluginClientId"),
            (
                "host: a\nloginClientId: a",
                "loginClientId: needs url and loginClientSecretFile and loginCookieSecretFile",
            ),
            (
                "host: a\ninsecureAnyHost: true\nallowedHost: [a]",
                "insecureAnyHost: excludes allowedHost",
            ),
            ("host: a\nhost: b", "duplicate"),
        ] {
            let error = parse(fields).unwrap_err();
            assert!(error.contains(want) && !error.contains('\n'), "{fields}: {error}");
        }
        let other = PortalConfiguration::parse("host: a", &PortalConfiguration::default());
        assert!(other.unwrap_err().to_string().contains("apiVersion: must be"));
    }
}
