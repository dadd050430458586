//! `protectedResource`: what clients are told without a login.

use kube_authn::discovery::Endpoint;

use super::section::section;

section! {
    /// What the gateway tells whoever asks for `/.well-known/oauth-protected-resource` (RFC 9728): where its users log in, and as which
    /// client. `kubectl oidc setup URL` needs no more. Everybody may read it, without a login.
    ProtectedResource
        /// The URL under which clients reach the gateway, `https://HOST` or `https://HOST:PORT`. Empty means that nothing is told.
        url: String = String::new();
        /// What the cluster is called in the kubeconfigs of users. Empty means the host of the URL.
        cluster_name: String = String::new();
        /// The clients that users log in as. An issuer that is not among them has its audience for a client, if it has one alone.
        clients: Vec<PublicClient> = Vec::new();
}

section! {
    /// The public client of an issuer, as which users log in (RFC 6749, section 2.1): it has no secret.
    PublicClient
        /// The issuer's URL, as the `AuthenticationConfiguration` has it.
        issuer: String = String::new();
        /// The client's id.
        #[serde(rename = "clientID")]
        client_id: String = String::new();
        /// The scopes to ask for, beside `openid`.
        scopes: Vec<String> = Vec::new();
}

impl ProtectedResource {
    /// What cannot be meant: the path of a field, its value, and why.
    pub(super) fn fault(&self) -> Option<(String, &str, &'static str)> {
        let fault = |field: &str, got, why| Some((field.to_owned(), got, why));
        if self.url.is_empty() {
            let nothing = self.cluster_name.is_empty() && self.clients.is_empty();
            let why = "must be the gateway's URL, which the other fields are for";
            return if nothing { None } else { fault("url", "", why) };
        }
        if !is_origin(&self.url) {
            let why = "must be https://HOST or https://HOST:PORT in lower case, without a path, and without the port 443";
            return fault("url", &self.url, why);
        }
        let name = &self.cluster_name;
        // What looks like the name of another cluster is none, and the plugin takes no other.
        if name.len() > 253 || name.trim() != name || !is_printable_ascii(name) {
            let why =
                "must be printable ASCII, at most 253 bytes, without a blank at its start or end";
            return fault("clusterName", name, why);
        }
        self.clients.iter().enumerate().find_map(|(index, client)| {
            let (field, got, why) = client.fault(self.clients.get(..index).unwrap_or_default())?;
            Some((format!("clients[{index}].{field}"), got, why))
        })
    }
}

impl PublicClient {
    fn fault(&self, before: &[Self]) -> Option<(String, &str, &'static str)> {
        if before.iter().any(|other| other.issuer == self.issuer) {
            return Some(("issuer".to_owned(), &self.issuer, "must have one client"));
        }
        let id = &self.client_id;
        // RFC 6749, appendix A.1.
        if id.is_empty() || id.trim() != id || !is_printable_ascii(id) {
            return Some(("clientID".to_owned(), id, "must be printable ASCII, and not empty"));
        }
        self.scopes.iter().enumerate().find_map(|(index, scope)| {
            let why = "must be a word of ASCII without comma, quotation mark and backslash";
            (!is_scope(scope)).then(|| (format!("scopes[{index}]"), &**scope, why))
        })
    }
}

/// RFC 6749, section 3.3, but for the comma, by which programs separate scopes.
fn is_scope(scope: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_graphic() && !b"\"\\,".contains(&byte);
    !scope.is_empty() && scope.bytes().all(fits)
}

/// Whether it is the URL of a server and of nothing on it, written as URLs are compared (RFC 3986, section 6.2.2).
fn is_origin(url: &str) -> bool {
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-:[]".contains(&byte);
    let Some(authority) = url.strip_prefix("https://") else { return false };
    let is_plain = authority.bytes().all(plain) && !authority.ends_with(":443");
    is_plain && Endpoint::parse(url).is_ok_and(|endpoint| endpoint.authority() == authority)
}

fn is_printable_ascii(text: &str) -> bool {
    text.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}
