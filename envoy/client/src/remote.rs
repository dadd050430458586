//! A webhook, as the kubeconfig that names it has it (`--audit-webhook-config-file` of kube-apiserver).

use std::{path::Path, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use gateway_net::Host;
use ureq::{Agent, Proxy};

use crate::{
    client::{Client, Trust},
    connection::server_name,
    error::KubeconfigError,
    file::{self, Choice},
    pair::Pair,
    source::Source,
};

/// A server that is sent something.
#[derive(Clone)]
pub struct Remote {
    url: String,
    agent: Agent,
    authorization: Authorization,
}

#[derive(Clone)]
enum Authorization {
    None,
    /// The value of the header; never printed.
    Fixed(String),
    /// A token that is read anew for each request.
    Token(Source),
}

impl Remote {
    /// Reads a kubeconfig and the files that it names: its context's cluster and user, or the first ones.
    ///
    /// # Errors
    /// If it says nothing usable.
    pub fn read(path: &Path, timeout: Duration) -> Result<Self, KubeconfigError> {
        let chosen = file::read(path, Choice { first: true, ..Choice::default() })?;
        let (cluster, user) = (&chosen.cluster, &chosen.user);
        let (url, to) = address(&cluster.server, &cluster.tls_server_name)?;
        let read = |source: &Source| {
            source.read().map_err(|reason| KubeconfigError::value("kubeconfig", reason))
        };
        let ca = chosen.ca()?.as_ref().map(read).transpose()?;
        let trust = match &ca {
            _ if cluster.insecure_skip_tls_verify => Trust::Anybody,
            Some(pem) => Trust::Bundle(pem),
            None => Trust::System,
        };
        let pair = user.pair()?;
        let pair = pair.map(|pair| Ok(Pair { chain: read(&pair.chain)?, key: read(&pair.key)? }));
        let pair = pair.transpose()?;
        let identity = pair.as_ref();
        let client = Client { trust, identity, to, proxy: Proxy::try_from_env(), timeout };
        let agent =
            client.agent().map_err(|reason| KubeconfigError::value("kubeconfig", reason))?;
        let authorization = match user.token() {
            Some(token) => Authorization::Token(token),
            None if user.username.is_empty() => Authorization::None,
            None => {
                let pair = format!("{}:{}", user.username, user.password);
                Authorization::Fixed(format!("Basic {}", STANDARD.encode(pair)))
            }
        };
        Ok(Self { url, agent, authorization })
    }

    /// Sends a document as JSON.
    ///
    /// # Errors
    /// If the server does not answer, or not that it has taken it.
    pub fn post(&self, body: &str) -> Result<(), ureq::Error> {
        self.post_with(body, &[])
    }

    /// The same, with more headers.
    ///
    /// # Errors
    /// If the server does not answer, or not that it has taken it.
    pub fn post_with(&self, body: &str, headers: &[(&str, &str)]) -> Result<(), ureq::Error> {
        let mut request = self.agent.post(&self.url).content_type("application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(value) = self.authorization() {
            request = request.header("authorization", value);
        }
        let status = request.send(body)?.status();
        if status.is_success() { Ok(()) } else { Err(ureq::Error::StatusCode(status.as_u16())) }
    }

    fn authorization(&self) -> Option<String> {
        match &self.authorization {
            Authorization::None => None,
            Authorization::Fixed(value) => Some(value.clone()),
            Authorization::Token(source) => {
                let token = String::from_utf8(source.read().ok()?).ok()?;
                Some(format!("Bearer {}", token.trim()))
            }
        }
    }
}

/// The URL to ask for, with the name that the certificate must have, and the only place to connect to if that is another.
type Address = (String, Option<(String, u16)>);

fn address(server: &str, name: &str) -> Result<Address, KubeconfigError> {
    let fault = |reason: &str| KubeconfigError::value("server", reason);
    let Some((scheme, rest)) =
        server.split_once("://").filter(|(scheme, _)| ["https", "http"].contains(scheme))
    else {
        return Err(fault("it must begin with https:// or http://"));
    };
    let Some(name) = server_name(Some(name))? else { return Ok((server.to_owned(), None)) };
    let url: ureq::http::Uri = server.parse().map_err(|_| fault("it is no URL"))?;
    let host = url.host().ok_or_else(|| fault("it names no host"))?;
    let default = if scheme == "https" { 443 } else { 80 };
    let port = url.port_u16().unwrap_or(default);
    let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or_default();
    let name = match name {
        Host::Ip(address) if address.is_ipv6() => format!("[{address}]"),
        name => name.to_string(),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok((format!("{scheme}://{name}:{port}{path}"), Some((host, port))))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(1);

    fn read_text(text: &str) -> Result<Remote, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        fs::write(&path, text).unwrap();
        Remote::read(&path, TIMEOUT).map_err(|error| error.to_string())
    }

    #[test]
    fn the_current_context_counts_or_the_first_entries() {
        for (text, want) in [
            ("{clusters: [{name: a, cluster: {server: 'https://a'}}]}", Ok(("https://a", None))),
            (
                "{clusters: [{name: a, cluster: {server: 'https://a'}}, {name: b, cluster: {server: 'http://b'}}],
                  users: [{name: u, user: {token: secret}}], current-context: c, contexts: [{name: c, context: {cluster: b, user: u}}]}",
                Ok(("http://b", Some("Bearer secret"))),
            ),
            (
                "{clusters: [{name: a, cluster: {server: 'https://a'}}], users: [{name: u, user: {username: n, password: p}}]}",
                Ok(("https://a", Some("Basic bjpw"))),
            ),
            // The certificate's name is the URL's, the address is where to connect to.
            (
                "{clusters: [{name: a, cluster: {server: 'https://10.0.0.1/hook', tls-server-name: a.example}}]}",
                Ok(("https://a.example:443/hook", None)),
            ),
            ("{current-context: c}", Err("no context \"c\"")),
            ("{}", Err("no cluster")),
            ("[", Err("cannot read")),
            ("{clusters: [{name: a, cluster: {server: 'ftp://a'}}]}", Err("must begin with")),
            // A user that is not there is not nobody.
            (
                "{clusters: [{name: a, cluster: {server: 'https://a'}}], current-context: c, contexts: [{name: c, context: {cluster: a, user: u}}]}",
                Err("no user \"u\""),
            ),
            (
                "{clusters: [{name: a, cluster: {server: 'https://a'}}], users: [{name: u, user: {exec: {command: x}}}]}",
                Err("exec is not supported"),
            ),
            (
                "{clusters: [{name: a, cluster: {server: 'https://a', certificate-authority-data: 'AAAA'}}]}",
                Err("holds no certificate"),
            ),
            (
                "{clusters: [{name: a, cluster: {server: 'https://a'}}], users: [{name: u, user: {client-certificate-data: 'AAAA'}}]}",
                Err("go together"),
            ),
        ] {
            match (read_text(text), want) {
                (Ok(got), Ok((url, authorization))) => {
                    assert_eq!(got.url, url);
                    assert_eq!(got.authorization().as_deref(), authorization, "{text}");
                }
                (Err(got), Err(want)) => assert!(got.contains(want), "{got} / {want}"),
                (got, want) => panic!("{text}: {:?} / {want:?}", got.map(|it| it.url)),
            }
        }
    }

    #[test]
    fn a_token_file_is_read_when_it_is_needed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        fs::write(&path, "{clusters: [{name: a, cluster: {server: 'https://a'}}], users: [{name: u, user: {tokenFile: token}}]}").unwrap();
        let config = Remote::read(&path, TIMEOUT).unwrap();
        assert_eq!(config.authorization(), None);
        fs::write(folder.path().join("token"), "one\n").unwrap();
        assert_eq!(config.authorization().as_deref(), Some("Bearer one"));
    }
}
