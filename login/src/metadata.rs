//! What a gateway says of where to log in: OAuth 2.0 Protected Resource Metadata (RFC 9728), and in it what no standard has, the
//! public client of each issuer and the cluster's name.
//!
//! The gateway's word is taken for what it may say and no more: over TLS that is vouched for, for the very URL that was asked, with
//! addresses over TLS alone, and in texts that can be shown and written as they stand.

use oauth2::HttpRequest;
use serde::Deserialize;
use ureq::http::{Request, header};
use url::Url;

use crate::{
    address::Link,
    console::Console,
    http::{Http, HttpError, TrustError, not_json},
    settings::Trust,
};

/// Where the document is (RFC 9728, section 3).
const PATH: &str = "/.well-known/oauth-protected-resource";
/// More than any of its texts has.
const LONGEST: usize = 2048;
/// How many issuers an error names, and how many characters of a text.
const SHOWN: usize = 10;
const SHORT: usize = 200;

/// Why a gateway's word is not taken.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// Not the URL of a gateway.
    #[error("{0:?} is not the URL of a gateway; write https://HOST or https://HOST:PORT")]
    Url(String),
    /// It could not be asked.
    #[error("{0}{out}", out = .0.way_out("--cluster-certificate-authority or --ca-fingerprint"))]
    Http(#[from] HttpError),
    /// Its certificate authority.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// There is no such document.
    #[error(
        "{url} answered {status}: this server does not say where to log in; ask its administrator, and give --server, --oidc-issuer-url and --oidc-client-id"
    )]
    Untold {
        /// What was asked for.
        url: String,
        /// The status code.
        status: u16,
    },
    /// The document is about something else (RFC 9728, section 3.3).
    #[error(
        "{asked} says that it is {:?}: it was set up for another URL, or is not what it seems; ask its administrator for the right one",
        shortened(said)
    )]
    OtherResource {
        /// The URL that was asked.
        asked: String,
        /// `resource`.
        said: String,
    },
    /// It says something that cannot be used.
    #[error(
        "what {asked} says of where to log in cannot be used: {reason}; its administrator must correct that"
    )]
    Unusable {
        /// The URL that was asked.
        asked: String,
        /// What is wrong.
        reason: String,
    },
    /// The wanted issuer is none of its own.
    #[error("{asked} has no issuer {wanted:?}; choose one with --issuer: {}", some(issuers))]
    NoSuchIssuer {
        /// The URL that was asked.
        asked: String,
        /// The issuer.
        wanted: String,
        /// Those that there are.
        issuers: Vec<String>,
    },
    /// There is a choice.
    #[error("{asked} has several issuers; choose one with --issuer: {}", some(issuers))]
    SeveralIssuers {
        /// The URL that was asked.
        asked: String,
        /// They.
        issuers: Vec<String>,
    },
}

/// A gateway's URL, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway(String);

/// Where to log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What the cluster is called, if it says.
    pub cluster: Option<String>,
    /// The issuer.
    pub issuer: String,
    /// The public client, if it says.
    pub client_id: Option<String>,
    /// Scopes, beside `openid`.
    pub scopes: Vec<String>,
}

#[derive(Deserialize)]
struct Document {
    resource: String,
    #[serde(default)]
    authorization_servers: Vec<String>,
    #[serde(default)]
    kubernetes: Kubernetes,
}

#[derive(Default, Deserialize)]
struct Kubernetes {
    #[serde(default)]
    cluster: Option<String>,
    #[serde(default)]
    clients: Vec<PublicClient>,
}

#[derive(Deserialize)]
struct PublicClient {
    issuer: String,
    client_id: String,
    #[serde(default)]
    scopes: Vec<String>,
}

impl Gateway {
    /// Reads a URL.
    ///
    /// # Errors
    /// If it is not one of a server and nothing on it, over TLS.
    pub fn parse(text: &str) -> Result<Self, MetadataError> {
        let refused = || MetadataError::Url(text.to_owned());
        Link::checked(text, false).map_err(|_| refused())?;
        let url = Url::parse(text).map_err(|_| refused())?;
        let whole = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if whole { Ok(Self(url.as_str().trim_end_matches('/').to_owned())) } else { Err(refused()) }
    }

    /// The URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.0
    }

    /// Asks where to log in, at the issuer `wanted` if there is a choice. No redirect is followed.
    ///
    /// # Errors
    /// See [`MetadataError`].
    pub fn ask(
        &self,
        trust: &Trust,
        wanted: Option<&str>,
        console: Console,
    ) -> Result<Told, MetadataError> {
        let url = format!("{}{PATH}", self.0);
        let invalid =
            |reason: &str| HttpError::Body { url: url.clone(), reason: reason.to_owned() };
        let request: HttpRequest = Request::get(&url)
            .header(header::ACCEPT, "application/json")
            .body(Vec::new())
            .map_err(|_| invalid("its address is not valid"))?;
        let response = Http::new(trust, console)?.call(request)?;
        match response.status().as_u16() {
            200 => self.read(response.body(), wanted),
            status => Err(MetadataError::Untold { url, status }),
        }
    }

    fn read(&self, body: &[u8], wanted: Option<&str>) -> Result<Told, MetadataError> {
        let Document { resource, authorization_servers: issuers, kubernetes } =
            serde_json::from_slice(body).map_err(|_| self.unusable(not_json(body).to_owned()))?;
        if resource.trim_end_matches('/') != self.0 {
            return Err(MetadataError::OtherResource { asked: self.0.clone(), said: resource });
        }
        let Kubernetes { cluster, clients } = kubernetes;
        for address in issuers.iter().chain(clients.iter().map(|client| &client.issuer)) {
            Link::checked(address, false).map_err(|error| self.unusable(error.to_string()))?;
            self.plain("an issuer", address)?;
        }
        if let Some(name) = &cluster {
            self.plain("the cluster's name", name)?;
        }
        let issuer = self.choose(wanted, &issuers, &clients)?.to_owned();
        let client = clients.into_iter().find(|client| client.issuer == issuer);
        let (client_id, mut scopes) =
            client.map(|client| (client.client_id, client.scopes)).unzip();
        if let Some(id) = &client_id {
            self.plain("the client", id)?;
        }
        let scopes = scopes.get_or_insert_default();
        for scope in &*scopes {
            self.plain("a scope", scope)?;
            // RFC 6749, section 3.3, and what flags separate scopes by.
            if !scope.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\,".contains(&byte)) {
                return Err(self.unusable(format!("{scope:?} is not a scope")));
            }
        }
        scopes.retain(|scope| scope != "openid");
        Ok(Told { cluster, issuer, client_id, scopes: std::mem::take(scopes) })
    }

    fn choose<'a>(
        &self,
        wanted: Option<&str>,
        issuers: &'a [String],
        clients: &'a [PublicClient],
    ) -> Result<&'a str, MetadataError> {
        let asked = self.0.clone();
        if let Some(wanted) = wanted {
            let found = issuers.iter().find(|issuer| *issuer == wanted);
            return found.map(String::as_str).ok_or_else(|| MetadataError::NoSuchIssuer {
                asked,
                wanted: wanted.to_owned(),
                issuers: issuers.to_vec(),
            });
        }
        let with_client: Vec<_> = issuers
            .iter()
            .filter(|issuer| clients.iter().any(|client| client.issuer == **issuer))
            .collect();
        match (issuers, &*with_client) {
            ([], _) => Err(self.unusable("it names no issuer".to_owned())),
            ([only], _) => Ok(only),
            (_, [only]) => Ok(only),
            _ => Err(MetadataError::SeveralIssuers { asked, issuers: issuers.to_vec() }),
        }
    }

    /// A text is shown as it is, or not used at all: what a person agrees to is what is written. Of letters that look alike one is ASCII.
    fn plain(&self, what: &str, text: &str) -> Result<(), MetadataError> {
        let plain = text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) && text.trim() == text;
        if plain && !text.is_empty() && text.len() <= LONGEST {
            return Ok(());
        }
        Err(self.unusable(format!(
            "{what} is empty, too long, or has characters other than printable ASCII"
        )))
    }

    fn unusable(&self, reason: String) -> MetadataError {
        MetadataError::Unusable { asked: self.0.clone(), reason }
    }
}

/// What a person can read of a list that somebody else wrote.
fn some(issuers: &[String]) -> String {
    let shown: Vec<_> = issuers.iter().take(SHOWN).map(|issuer| shortened(issuer)).collect();
    let more = issuers.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHORT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(document: &Value, wanted: Option<&str>) -> Result<Told, String> {
        let gateway = Gateway::parse("https://gateway.example").unwrap();
        gateway.read(document.to_string().as_bytes(), wanted).map_err(|error| error.to_string())
    }

    fn document(issuers: &[&str], kubernetes: &Value) -> Value {
        json!({"resource": "https://gateway.example", "authorization_servers": issuers, "kubernetes": kubernetes, "more": 1})
    }

    fn client(issuer: &str, id: &str, scopes: &[&str]) -> Value {
        json!({"issuer": issuer, "client_id": id, "scopes": scopes})
    }

    #[test]
    fn a_gateway_is_a_server_over_tls() {
        for (text, want) in [
            ("https://gateway.example", Some("https://gateway.example")),
            ("https://gateway.example/", Some("https://gateway.example")),
            ("https://Gateway.example:443", Some("https://gateway.example")),
            ("https://[::1]:8443", Some("https://[::1]:8443")),
            ("http://gateway.example", None),
            ("http://127.0.0.1", None),
            ("gateway.example", None),
            ("https://u:p@gateway.example", None),
            ("https://gateway.example/k8s", None),
            ("https://gateway.example/?a", None),
            ("https://gateway.example/#a", None),
            ("--server", None),
            ("", None),
        ] {
            let found = Gateway::parse(text).ok();
            assert_eq!(found.as_ref().map(Gateway::url), want, "{text}");
        }
    }

    #[test]
    fn the_issuer_is_the_only_one_or_the_chosen_one() {
        let (a, b) = ("https://a.example", "https://b.example/r");
        let both = [client(a, "x", &["openid", "groups"]), client(b, "y", &[])];
        for (issuers, clients, wanted, want) in [
            (&[a][..], &both[..1], None, Ok((a, Some("x")))),
            (&[a], &[], None, Ok((a, None))),
            (&[a, b], &both[1..], None, Ok((b, Some("y")))),
            (&[a, b], &both, Some(a), Ok((a, Some("x")))),
            (&[a, b], &both[1..], Some(a), Ok((a, None))),
            (&[a, b], &both, None, Err("choose one with --issuer: https://a.example, https://b")),
            (&[a, b], &[], None, Err("several issuers")),
            (
                &[a],
                &both,
                Some(b),
                Err("no issuer \"https://b.example/r\"; choose one with --issuer: https://a.ex"),
            ),
            (&[a], &both[..1], Some("https://a.example/"), Err("no issuer")),
            (&[], &both, None, Err("it names no issuer")),
        ] {
            let found = read(&document(issuers, &json!({"clients": clients})), wanted);
            match (&found, want) {
                (Ok(told), Ok((issuer, id))) => {
                    assert_eq!((&*told.issuer, told.client_id.as_deref()), (issuer, id));
                    assert!(told.scopes.is_empty() || told.scopes == ["groups"], "{told:?}");
                }
                (Err(error), Err(want)) => assert!(error.contains(want), "{error}"),
                _ => panic!("{issuers:?} {wanted:?}: {found:?}"),
            }
        }
    }

    #[test]
    fn a_document_that_says_more_than_it_may_is_not_used() {
        let a = "https://a.example";
        let one = |client: Value| json!({"clients": [client]});
        for (document, want) in [
            (json!([]), "not the JSON"),
            (json!({"authorization_servers": [a]}), "not the JSON"),
            (
                json!({"resource": "https://other.example", "authorization_servers": [a]}),
                "says that it is \"https://other.example\"",
            ),
            (
                json!({"resource": "https://gateway.example.evil", "authorization_servers": [a]}),
                "says that it is",
            ),
            (
                json!({"resource": "https://gateway.example/k8s", "authorization_servers": [a]}),
                "says that it is",
            ),
            (
                json!({"resource": "http://gateway.example", "authorization_servers": [a]}),
                "says that it is",
            ),
            (
                document(&["http://a.example"], &json!({})),
                "\"http://a.example\" is not an https URL",
            ),
            (document(&["http://127.0.0.1"], &json!({})), "not an https URL"),
            (document(&[a, "javascript:alert(1)"], &json!({})), "not an https URL"),
            (document(&["https://login.example@evil.example"], &json!({})), "holds a user name"),
            (document(&[a], &one(client("http://a.example", "x", &[]))), "not an https URL"),
            (document(&["https://a.example/\u{202e}x"], &json!({})), "an issuer is empty"),
            (document(&["https://a.example/\n"], &json!({})), "an issuer is empty"),
            (document(&[a], &one(client(a, "", &[]))), "the client is empty"),
            (document(&[a], &one(client(a, "x\ny", &[]))), "the client is empty"),
            (document(&[a], &one(client(a, &"x".repeat(3000), &[]))), "too long"),
            (document(&[a], &one(client(a, "x", &["a b"]))), "\"a b\" is not a scope"),
            (document(&[a], &one(client(a, "x", &["a,b"]))), "is not a scope"),
            (document(&[a], &one(client(a, "x", &["é"]))), "printable ASCII"),
            // A Cyrillic "o", a space that has no width, a host that is spelled by lookalikes.
            (document(&[a], &json!({"cluster": "pr\u{43e}d"})), "printable ASCII"),
            (document(&[a], &json!({"cluster": "prod\u{200b}"})), "printable ASCII"),
            (document(&["https://\u{430}.example"], &json!({})), "printable ASCII"),
            (document(&[a], &json!({"cluster": "\u{1b}[2J"})), "the cluster's name is empty"),
            (document(&[a], &json!({"cluster": " a"})), "the cluster's name is empty"),
            (document(&[a], &json!({"cluster": ""})), "the cluster's name is empty"),
        ] {
            let error = read(&document, None).unwrap_err();
            assert!(error.contains(want), "{document}: {error}");
        }
    }

    /// Errors showed all that a server said, whatever its length.
    #[test]
    fn an_error_shows_a_part_of_what_is_long() {
        let issuers: Vec<_> = (0..500).map(|number| format!("https://i{number}.example")).collect();
        let issuers: Vec<_> = issuers.iter().map(String::as_str).collect();
        let error = read(&document(&issuers, &json!({})), None).unwrap_err();
        assert!(error.ends_with("https://i9.example and 490 more"), "{error}");
        let resource = format!("https://{}.example", "x".repeat(100_000));
        let error = read(&json!({"resource": resource}), None).unwrap_err();
        assert!(error.len() < 500 && error.contains("xxx…\": it was set up"), "{error}");
    }
}
