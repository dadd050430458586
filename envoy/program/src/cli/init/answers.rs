//! What `init` has to know: from flags, from a file, or asked for.
#![expect(clippy::doc_markdown, reason = "these comments are what --help prints")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use gateway_net::Host;
use kube_authn::discovery::Endpoint;
use serde::Deserialize;

use super::{
    ask::Asker,
    provider::Provider,
    source::{self, Directory},
};
use crate::cli::error::Error;

/// How clients get to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exposure {
    /// By `kubectl port-forward`, for a try
    PortForward,
    /// By a Service of type LoadBalancer
    LoadBalancer,
    /// By a port of each node
    NodePort,
    /// By an Ingress that passes TLS through
    Ingress,
    /// By a TLSRoute of the Gateway API
    TlsRoute,
}

/// Answers that were given before anybody is asked. In a file they have the same names in camelCase.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[command(next_help_heading = "Answers")]
pub struct Answers {
    /// Who issues the tokens: sets what its tokens are like
    #[arg(long, value_enum)]
    pub provider: Option<Provider>,
    /// The issuer's URL, exactly as tokens have it in iss
    #[arg(long, value_name = "URL")]
    pub oidc_issuer_url: Option<String>,
    /// The client's ID, which is the tokens' audience
    #[arg(long, value_name = "ID")]
    pub oidc_client_id: Option<String>,
    /// The CA bundle for the issuer (PEM) [default: the system's]
    #[arg(long, value_name = "FILE")]
    pub oidc_ca_file: Option<PathBuf>,
    /// The claim with the user's name [default: by the provider]
    #[arg(long, value_name = "CLAIM")]
    pub oidc_username_claim: Option<String>,
    /// What is put before the user's name; - for nothing [default: the provider and a colon]
    #[arg(long, value_name = "PREFIX")]
    pub oidc_username_prefix: Option<String>,
    /// The claim with the user's groups; - for none [default: by the provider]
    #[arg(long, value_name = "CLAIM")]
    pub oidc_groups_claim: Option<String>,
    /// What is put before each group; - for nothing [default: as before names]
    #[arg(long, value_name = "PREFIX")]
    pub oidc_groups_prefix: Option<String>,
    /// Scopes for the login beside openid [default: by the provider]
    #[arg(long, value_name = "SCOPE,...", value_delimiter = ',')]
    pub oidc_extra_scope: Vec<String>,
    /// Google: the Workspace domain whose accounts count
    #[arg(long, value_name = "DOMAIN")]
    pub hosted_domain: Option<String>,
    /// Ask the provider's directory for groups that are not in the token: entra, google, keycloak, okta (docs/groups.md)
    #[arg(long)]
    pub group_source: bool,
    /// With it: the ID of the client that reads groups; at Google the service account's e-mail address
    #[arg(long, value_name = "ID")]
    pub group_source_client_id: Option<String>,
    /// With it at Okta: the ID of that client's key
    #[arg(long, value_name = "ID")]
    pub group_source_key_id: Option<String>,
    /// With it at Google: the administrator as whom it reads them
    #[arg(long, value_name = "EMAIL")]
    pub group_source_subject: Option<String>,
    /// How clients get to the gateway
    #[arg(long, value_enum)]
    pub exposure: Option<Exposure>,
    /// The name or the address by which they do
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// With ingress: its class
    #[arg(long, value_name = "NAME")]
    pub ingress_class: Option<String>,
    /// With tls-route: the Gateway whose listener passes TLS through
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    pub parent_gateway: Option<String>,
    /// A group to start with, as the provider calls it: it gets --role
    #[arg(long, value_name = "GROUP", conflicts_with = "user")]
    pub group: Option<String>,
    /// A user to start with, as the token calls them, where there are no groups
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// The ClusterRole for them [default: view]
    #[arg(long, value_name = "NAME")]
    pub role: Option<String>,
    /// The gateway's namespace [default: kube-oidc-gateway]
    #[arg(long, short, value_name = "NAME")]
    pub namespace: Option<String>,
    /// The release's name [default: kube-oidc-gateway]
    #[arg(long, value_name = "NAME")]
    pub release: Option<String>,
}

/// Everything that `init` has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Who issues the tokens.
    pub provider: Provider,
    /// The issuer's URL.
    pub issuer_url: String,
    /// The client's ID.
    pub client_id: String,
    /// The issuer's CA: where it lies, and what it is.
    pub ca: Option<(PathBuf, String)>,
    /// The claim with the user's name.
    pub username_claim: String,
    /// What is put before it.
    pub username_prefix: String,
    /// The claim with the groups; empty for none.
    pub groups_claim: String,
    /// What is put before each.
    pub groups_prefix: String,
    /// Scopes beside openid.
    pub scopes: Vec<String>,
    /// The Workspace domain whose accounts count; empty for none.
    pub hosted_domain: String,
    /// The directory that is asked for groups which are not in the token.
    pub directory: Option<Directory>,
    /// How clients get there.
    pub exposure: Exposure,
    /// The name or the address by which they do; empty where they need none.
    pub host: String,
    /// The Ingress' class; empty for the cluster's own.
    pub ingress_class: String,
    /// Namespace, which may be empty, and name of the Gateway.
    pub parent_gateway: (String, String),
    /// The ClusterRole for whom one starts with.
    pub role: String,
    /// The gateway's namespace.
    pub namespace: String,
    /// The release's name.
    pub release: String,
}

impl Answers {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path)
            .map_err(|source| Error::Read { path: path.to_owned(), source })?;
        serde_saphyr::from_str(&text).map_err(|error| Error::Document {
            path: path.display().to_string(),
            reason: error.to_string().lines().next().unwrap_or_default().to_owned(),
        })
    }

    /// These, and others for what these do not say.
    pub fn or(self, others: Self) -> Self {
        let is_someone = self.group.is_some() || self.user.is_some();
        Self {
            provider: self.provider.or(others.provider),
            oidc_issuer_url: self.oidc_issuer_url.or(others.oidc_issuer_url),
            oidc_client_id: self.oidc_client_id.or(others.oidc_client_id),
            oidc_ca_file: self.oidc_ca_file.or(others.oidc_ca_file),
            oidc_username_claim: self.oidc_username_claim.or(others.oidc_username_claim),
            oidc_username_prefix: self.oidc_username_prefix.or(others.oidc_username_prefix),
            oidc_groups_claim: self.oidc_groups_claim.or(others.oidc_groups_claim),
            oidc_groups_prefix: self.oidc_groups_prefix.or(others.oidc_groups_prefix),
            oidc_extra_scope: if self.oidc_extra_scope.is_empty() {
                others.oidc_extra_scope
            } else {
                self.oidc_extra_scope
            },
            hosted_domain: self.hosted_domain.or(others.hosted_domain),
            group_source: self.group_source || others.group_source,
            group_source_client_id: self.group_source_client_id.or(others.group_source_client_id),
            group_source_key_id: self.group_source_key_id.or(others.group_source_key_id),
            group_source_subject: self.group_source_subject.or(others.group_source_subject),
            exposure: self.exposure.or(others.exposure),
            host: self.host.or(others.host),
            ingress_class: self.ingress_class.or(others.ingress_class),
            parent_gateway: self.parent_gateway.or(others.parent_gateway),
            group: self.group.or(others.group.filter(|_| !is_someone)),
            user: self.user.or(others.user.filter(|_| !is_someone)),
            role: self.role.or(others.role),
            namespace: self.namespace.or(others.namespace),
            release: self.release.or(others.release),
        }
    }

    /// All that has to be known, asked for where it is not said.
    pub fn plan(&self, asker: &mut Asker) -> Result<Plan, Error> {
        let provider = match self.provider {
            Some(provider) => provider,
            None => asker.ask_for(
                "Provider (keycloak, kanidm, entra, google, okta, auth0, gitlab, dex, other)",
                None,
                "--provider",
                |text| Provider::from_str(text, true),
            )?,
        };
        let preset = provider.preset();
        let ca = self.oidc_ca_file.as_deref().map(|path| {
            let text = fs::read_to_string(path);
            let text = text.map_err(|source| Error::Read { path: path.to_owned(), source })?;
            Ok::<_, Error>((path.to_owned(), text))
        });
        let ca = ca.transpose()?;
        let question = format!("Issuer URL, like {}", preset.issuer);
        let only = (provider == Provider::Google).then_some(preset.issuer);
        let issuer_url = match &self.oidc_issuer_url {
            Some(url) => url.clone(),
            None => asker.ask_for(&question, only, "--oidc-issuer-url", issuer)?,
        };
        let mut ask =
            |said: &Option<String>, question: &str, default: Option<&str>, flag: &str| match said {
                Some(said) => Ok(said.clone()),
                None => asker.ask(question, default, flag),
            };
        let question = format!("Client ID, like {}", preset.client);
        let client_id = ask(&self.oidc_client_id, &question, None, "--oidc-client-id")?;
        let groups_claim = if preset.groups_claim.is_empty() {
            said(self.oidc_groups_claim.as_ref(), "")
        } else {
            let question = "Claim with the groups (- for none)";
            let default = Some(preset.groups_claim);
            ask(&self.oidc_groups_claim, question, default, "--oidc-groups-claim")?
        };
        let question = "What to put before names, so that they are nobody else's (- for nothing)";
        let default = Some(preset.prefix);
        let username_prefix =
            ask(&self.oidc_username_prefix, question, default, "--oidc-username-prefix")?;
        let groups_prefix = said(self.oidc_groups_prefix.as_ref(), &username_prefix);
        let hosted_domain = if provider == Provider::Google {
            let question = "Workspace domain whose accounts count";
            ask(&self.hosted_domain, question, None, "--hosted-domain")?
        } else {
            String::new()
        };
        let directory = self.directory(provider, asker)?;
        let (exposure, host, parent_gateway) = self.way_in(asker)?;
        let scopes = match self.oidc_extra_scope.as_slice() {
            [] => preset.scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            scopes => scopes.to_vec(),
        };
        let namespace = said(self.namespace.as_ref(), "kube-oidc-gateway");
        let release = said(self.release.as_ref(), "kube-oidc-gateway");
        let role = said(self.role.as_ref(), "view");
        // The longest names that Kubernetes has for a namespace, and Helm for a release.
        for (flag, name, most) in [("--namespace", &namespace, 63), ("--release", &release, 53)] {
            is_label(name, most).map_err(|reason| Error::Usage(format!("{flag}: {reason}")))?;
        }
        if role.is_empty() || role.contains(['/', '%']) || role.chars().any(char::is_control) {
            return Err(Error::Usage(format!("--role: {role:?} is no name of a ClusterRole")));
        }
        if self.group.is_some() && self.user.is_some() {
            let text = "--group and --user: one of them is who one starts with";
            return Err(Error::Usage(text.to_owned()));
        }
        let groups_claim = source::claim(or_nothing(groups_claim), directory.as_ref());
        if self.group.is_some() && groups_claim.is_empty() {
            let text =
                "--group: tokens have no groups here (--oidc-groups-claim); --user names a user";
            return Err(Error::Usage(text.to_owned()));
        }
        for (flag, name) in [("--group", &self.group), ("--user", &self.user)] {
            if name.as_ref().is_some_and(|name| name.chars().any(char::is_control)) {
                return Err(Error::Usage(format!("{flag}: a name has no control characters")));
            }
        }
        Ok(Plan {
            provider,
            issuer_url,
            client_id,
            ca,
            username_claim: said(self.oidc_username_claim.as_ref(), preset.username_claim),
            groups_prefix: or_nothing(groups_prefix),
            username_prefix: or_nothing(username_prefix),
            groups_claim,
            scopes,
            hosted_domain,
            directory,
            exposure,
            host,
            ingress_class: said(self.ingress_class.as_ref(), ""),
            parent_gateway,
            role,
            namespace,
            release,
        })
    }

    /// How clients get to the gateway, the name by which they do, and the Gateway (its namespace, if said, and name).
    fn way_in(&self, asker: &mut Asker) -> Result<(Exposure, String, (String, String)), Error> {
        let exposure = match self.exposure {
            Some(exposure) => exposure,
            None => asker.ask_for(
                "How clients get to the gateway (port-forward, load-balancer, node-port, ingress, tls-route)",
                Some("port-forward"),
                "--exposure",
                |text| Exposure::from_str(text, true),
            )?,
        };
        let is_named = matches!(exposure, Exposure::Ingress | Exposure::TlsRoute);
        let host_of = |text: &str| host(text, is_named);
        let host = match (&self.host, exposure) {
            (Some(host), _) => {
                host_of(host).map_err(|reason| Error::Usage(format!("--host: {reason}")))?
            }
            (None, Exposure::PortForward) => String::new(),
            // The cloud gives it one, and the certificate gets it.
            (None, Exposure::LoadBalancer) => asker.ask_for(
                "Name or address by which they do (empty for what the cloud gives)",
                Some(""),
                "--host",
                host_of,
            )?,
            (None, _) => {
                asker.ask_for("Name or address by which they do", None, "--host", host_of)?
            }
        };
        let gateway = match (&self.parent_gateway, exposure) {
            (Some(name), _) => parent(name)
                .map_err(|reason| Error::Usage(format!("--parent-gateway: {reason}")))?,
            (None, Exposure::TlsRoute) => asker.ask_for(
                "Gateway whose listener passes TLS through ([NAMESPACE/]NAME)",
                None,
                "--parent-gateway",
                parent,
            )?,
            _ => (String::new(), String::new()),
        };
        Ok((exposure, host, gateway))
    }
}

/// An issuer's URL as tokens have it.
fn issuer(url: &str) -> Result<String, String> {
    let is_https = url.starts_with("https://") && Endpoint::parse(url).is_ok();
    if is_https { Ok(url.to_owned()) } else { Err(format!("{url:?} is no https:// URL")) }
}

/// A name or an address without a scheme, a port and a path, or nothing; only a name where the way in tells hosts apart by it.
fn host(text: &str, is_named: bool) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    match text.parse::<Host>() {
        Ok(Host::Ip(_)) if is_named => {
            Err(format!("{text} is an address; this way in needs a name"))
        }
        Ok(host) => Ok(host.to_string()),
        Err(_) => Err(format!(
            "{text:?} is no name and no address: gateway.example.com, without https://, port and path"
        )),
    }
}

/// The namespace, which may be empty, and the name of a Gateway.
fn parent(text: &str) -> Result<(String, String), String> {
    let (namespace, name) = text.split_once('/').unwrap_or(("", text));
    if !namespace.is_empty() || text.starts_with('/') {
        is_label(namespace, 63)?;
    }
    for part in name.split('.') {
        is_label(part, 253)?;
    }
    Ok((namespace.to_owned(), name.to_owned()))
}

/// Whether it is a DNS label (RFC 1123), as most names of Kubernetes are.
fn is_label(name: &str, most: usize) -> Result<(), String> {
    let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = name.as_bytes();
    let edges = bytes.first().copied().is_some_and(fits) && bytes.last().copied().is_some_and(fits);
    if edges && bytes.len() <= most && bytes.iter().all(|&c| fits(c) || c == b'-') {
        return Ok(());
    }
    Err(format!("{name:?} must be lower-case letters, digits and '-', at most {most} of them"))
}

fn said(text: Option<&String>, default: &str) -> String {
    text.map_or(default, String::as_str).to_owned()
}

/// `-` is how nothing is said where an empty text would be the default.
fn or_nothing(text: String) -> String {
    if text == "-" { String::new() } else { text }
}

#[cfg(test)]
mod tests {
    use super::{
        super::ask::{answering, nobody},
        *,
    };

    #[test]
    fn what_is_not_said_is_asked_for_or_has_a_default() {
        let mut asker = answering(
            "nobody knows it\nkeycloak\nhttps://k.example/realms/a\nkubernetes\n\n\ningress\ngateway.example\n",
        );
        let asked = Answers::default().plan(&mut asker).unwrap();
        let said = Answers {
            provider: Some(Provider::Keycloak),
            oidc_issuer_url: Some("https://k.example/realms/a".to_owned()),
            oidc_client_id: Some("kubernetes".to_owned()),
            exposure: Some(Exposure::Ingress),
            host: Some("gateway.example".to_owned()),
            ..Answers::default()
        };
        assert_eq!(said.plan(&mut nobody()).unwrap(), asked);
        assert_eq!((&*asked.username_prefix, &*asked.groups_prefix), ("keycloak:", "keycloak:"));
        assert_eq!(asked.groups_claim, "groups");
        let error = Answers { host: None, ..said }.plan(&mut nobody()).unwrap_err().to_string();
        assert!(error.starts_with("--host is needed"), "{error}");
    }

    #[test]
    fn names_that_nothing_can_be_made_of_are_refused_with_their_flag() {
        let good = || Answers {
            provider: Some(Provider::Keycloak),
            oidc_issuer_url: Some("https://k.example/realms/a".to_owned()),
            oidc_client_id: Some("kubernetes".to_owned()),
            exposure: Some(Exposure::TlsRoute),
            host: Some("gateway.example".to_owned()),
            parent_gateway: Some("edge/public".to_owned()),
            ..Answers::default()
        };
        good().plan(&mut nobody()).unwrap();
        let some = |text: &str| Some(text.to_owned());
        for (answers, want) in [
            (Answers { host: some("https://foo:443/x"), ..good() }, "--host: "),
            (Answers { host: some("gw.example.com:8443"), ..good() }, "--host: "),
            (Answers { host: some("*.example.com"), ..good() }, "--host: "),
            (Answers { host: some("10.1.2.3"), ..good() }, "needs a name"),
            (Answers { parent_gateway: some("a/b/c"), ..good() }, "--parent-gateway: "),
            (Answers { parent_gateway: some("/b"), ..good() }, "--parent-gateway: "),
            (Answers { release: some("My Release; rm -rf ~"), ..good() }, "--release: "),
            (Answers { namespace: some("Bad_NS"), ..good() }, "--namespace: "),
            (Answers { role: some("Not/Valid Role"), ..good() }, "--role: "),
            (Answers { group: some("a\nb"), ..good() }, "--group: "),
            (Answers { group: some("a"), user: some("b"), ..good() }, "--group and --user: "),
            (
                Answers { group: some("a"), oidc_groups_claim: some("-"), ..good() },
                "--group: tokens have no groups",
            ),
        ] {
            let error = answers.plan(&mut nobody()).unwrap_err().to_string();
            assert!(error.contains(want), "{want}: {error}");
        }
        let plain =
            Answers { exposure: Some(Exposure::NodePort), host: some("[2001:db8::1]"), ..good() };
        assert_eq!(plain.plan(&mut nobody()).unwrap().host, "2001:db8::1");
        // A person is asked again.
        let asked = Answers { oidc_issuer_url: None, host: None, ..good() };
        let mut asker = answering(
            "k.example\nhttps://k.example/realms/a\n\n\nhttps://gateway.example\ngateway.example\n",
        );
        let plan = asked.plan(&mut asker).unwrap();
        assert_eq!(
            (&*plan.issuer_url, &*plan.host),
            ("https://k.example/realms/a", "gateway.example")
        );
    }

    #[test]
    fn a_file_says_the_same_and_flags_count_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers.yaml");
        let text = "provider: google\noidcClientId: a\nhostedDomain: example.com\nexposure: tls-route\nhost: a.example\n\
                    parentGateway: edge/public\ngroup: admins\noidcExtraScope: [email]\n";
        fs::write(&path, text).unwrap();
        let flags = Answers {
            oidc_client_id: Some("b".to_owned()),
            user: Some("ada@example.com".to_owned()),
            ..Answers::default()
        };
        let answers = flags.or(Answers::read(&path).unwrap());
        assert_eq!(
            (answers.group.clone(), answers.user.as_deref()),
            (None, Some("ada@example.com"))
        );
        let plan = answers.plan(&mut nobody()).unwrap();
        assert_eq!((&*plan.issuer_url, &*plan.client_id), ("https://accounts.google.com", "b"));
        assert_eq!(plan.parent_gateway, ("edge".to_owned(), "public".to_owned()));
        assert_eq!((&*plan.groups_claim, &*plan.username_prefix), ("", ""));
        fs::write(&path, "issuer: https://a.example\n").unwrap();
        let error = Answers::read(&path).unwrap_err().to_string();
        assert!(error.contains("issuer"), "{error}");
    }
}
