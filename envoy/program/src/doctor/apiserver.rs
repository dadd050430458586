//! kube-apiserver: whether it answers by the gateway's way, who the gateway is there, and what it may do.

use std::time::{SystemTime, UNIX_EPOCH};

use gateway_client::{CredentialSource, Pair, Source};
use gateway_config::{Documents, Needed, PROBE_CLUSTER, rights};
use gateway_control::Probe;
use gateway_core::callout::Cause;

use super::{clock, cure, finding::Findings};
use crate::run::{
    apiserver::{ApiServer, AskError, Credential, Way},
    readiness::missing,
    settings::Settings,
    token,
};

/// A ServiceAccount's token with less time left than this was not renewed.
const RENEWED_SECONDS: i64 = 120;

const CREDENTIAL: &str = "in a pod mount the ServiceAccount's token; else --kubeconfig names a user with a token or a client certificate";

pub(super) fn look(
    findings: &mut Findings,
    settings: &Settings,
    documents: Option<&Documents>,
    probe: Option<&Probe>,
) {
    let connection = &settings.apiserver;
    // One that cannot be read is told with the other certificates.
    let Ok(ca) = connection.ca.as_ref().map(Source::read).transpose() else { return };
    if ca.is_none() {
        findings.warn(
            "API server",
            "its certificate is not checked: any server that answers gets the gateway's credential",
            "--certificate-authority instead of --insecure-skip-tls-verify",
        );
    }
    let credential = match credential(&connection.credential) {
        Ok(credential) => credential,
        Err(reason) => return findings.fail("credential", reason, CREDENTIAL),
    };
    let client = match ApiServer::new(connection, ca.as_deref(), &credential) {
        Ok(client) => client,
        Err(reason) => {
            return findings.fail("API server", reason, "give its CA, in PEM, and the credential");
        }
    };
    let way = probe.map_or(Way::Own, |probe| Way::Envoy(probe, PROBE_CLUSTER));
    if answers(findings, settings, &client, way) {
        let way = client.way_of_credential(way);
        if let Some(who) = who(findings, &client, way, &credential)
            && let Some(documents) = documents
        {
            may(findings, &client, way, documents, &who);
        }
    }
}

fn answers(findings: &mut Findings, settings: &Settings, client: &ApiServer, way: Way<'_>) -> bool {
    let place = format!("{}:{}", settings.apiserver.host, settings.apiserver.port);
    let how = match way {
        Way::Own => "by this program, whose TLS is not Envoy's",
        Way::Envoy(..) => "by Envoy",
    };
    match client.version(way) {
        Ok(version) => {
            let name = version.name.map_or(String::new(), |name| format!(": Kubernetes {name}"));
            findings.ok("API server", format!("{place} answers{name}, asked {how}"));
            clock::look(findings, "the API server", version.date.as_deref(), SystemTime::now());
            true
        }
        Err(error) => {
            let text = error.to_string();
            let reason = match &error {
                AskError::Silent(reason) => reason.as_str(),
                _ => text.as_str(),
            };
            let cause = match way {
                Way::Own => cure::of_client(reason),
                Way::Envoy(..) => cure::of_envoy(reason),
            };
            let cure = match cause {
                Cause::UnknownAuthority | Cause::Certificate => "--certificate-authority, or the kubeconfig's, must have the CA that signed its certificate; in a pod it is the ServiceAccount's ca.crt".to_owned(),
                Cause::CertificateName => "--tls-server-name (tls-server-name of a kubeconfig) says which name is in its certificate".to_owned(),
                cause => cure::plain(cause),
            };
            findings.fail("API server", format!("{place}: {text} ({how})"), cure);
            false
        }
    }
}

fn credential(source: &CredentialSource) -> Result<Credential, String> {
    Ok(match source {
        CredentialSource::Token(source) => Credential::Token(token::checked(&source.read()?)?),
        CredentialSource::Certificate(pair) => {
            let pair = Pair { chain: pair.chain.read()?, key: pair.key.read()? };
            pair.check().map_err(|error| error.to_string())?;
            Credential::Certificate(pair)
        }
    })
}

/// The name that the gateway has there.
fn who(
    findings: &mut Findings,
    client: &ApiServer,
    way: Way<'_>,
    credential: &Credential,
) -> Option<String> {
    match client.who(way) {
        Ok(who) => {
            let name = who.clone().unwrap_or_else(|| "taken".to_owned());
            let left = match credential {
                Credential::Token(token) => token::expiry(token.as_bytes()).map(|end| end - now()),
                Credential::Certificate(_) => None,
            };
            match left {
                Some(left) if left < RENEWED_SECONDS => findings.warn(
                    "credential",
                    format!("{name}; its token ends in {left}s"),
                    "the kubelet renews a projected token long before: is the volume projected, and the node healthy?",
                ),
                Some(left) => {
                    findings.ok("credential", format!("{name}; its token lasts {} min", left / 60));
                }
                None => findings.ok("credential", name),
            }
            Some(who.unwrap_or_default())
        }
        Err(error) => {
            findings.fail("credential", error.to_string(), CREDENTIAL);
            None
        }
    }
}

fn may(
    findings: &mut Findings,
    client: &ApiServer,
    way: Way<'_>,
    documents: &Documents,
    who: &str,
) {
    let rights = rights(documents);
    let missing = match missing(&rights, |right| client.may(way, right)) {
        Ok(missing) => missing,
        Err(error) => {
            let cure = "every account may ask by default: is system:basic-user still bound to it?";
            return findings.fail("rights", error.to_string(), cure);
        }
    };
    let account = who
        .strip_prefix("system:serviceaccount:")
        // The API server's word becomes part of a command.
        .filter(|account| account.chars().all(|c| c.is_ascii_alphanumeric() || "-.:".contains(c)))
        .map_or(String::new(), |account| format!(" --service-account={account}"));
    let cure = format!(
        "the same flags after `kube-oidc-gateway rbac`{account} print the role: pipe it to kubectl apply -f -"
    );
    if missing.is_empty() {
        findings.ok("rights", "all that this configuration needs");
    }
    for right in missing {
        match right.needed {
            Needed::Always => {
                findings.fail("rights", format!("missing for every request: {right}"), &*cure);
            }
            Needed::ToImpersonate => {
                findings.warn("rights", format!("missing for kubectl --as: {right}"), &*cure);
            }
        }
    }
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or_default()
}
