//! Group sources, asked as the gateway asks, about a user who does not exist: whether they are reached, and take the credential.
//!
//! No route leads to Envoy's clusters for them, so that this program asks by its own client, with the same CAs and the same credential.

use std::time::SystemTime;

use gateway_config::{Callout, Documents};
use gateway_core::{
    callout::Cause,
    config::{GROUP_SOURCES, Provider},
    groups::{GroupSources, Source},
};
use go_compat::json::{Object, Value};
use kube_authn::{
    AuthenticationConfiguration,
    config::{LoadOptions, load},
};

use super::{cure, finding::Findings};
use crate::directory::{self, AskError, TokenError};

const CHECK: &str = "group source";
/// A name that no user has.
const NOBODY: &str = "kube-oidc-gateway-doctor";
/// The claims that sources ask by.
const CLAIMS: [&str; 6] = ["sub", "oid", "email", "upn", "preferred_username", "username"];

/// Looks at all of them.
pub(super) fn look(findings: &mut Findings, documents: &Documents) {
    let gateway = documents.gateway();
    let rules = gateway.kubernetes_rules;
    let text = serde_json::to_vec(documents.authentication()).unwrap_or_default();
    let Ok(configuration) = load(&text, &LoadOptions { rules, ..LoadOptions::default() }) else {
        return;
    };
    let configuration: &AuthenticationConfiguration = &configuration;
    let Ok(sources) = GroupSources::new(&gateway.group_sources, rules, configuration) else {
        return;
    };
    for index in 0..sources.len() {
        let Some(source) = sources.get(index) else { continue };
        let asker = format!("{GROUP_SOURCES}/{}", source.name);
        let Some(callout) = documents.callouts().iter().find(|it| it.asker == asker) else {
            continue;
        };
        one(findings, source, callout);
    }
}

fn one(findings: &mut Findings, source: &Source, callout: &Callout) {
    let name = &source.name;
    let claims: Object = CLAIMS
        .map(|claim| (claim.to_owned(), Value::from(NOBODY.to_owned())))
        .into_iter()
        .collect();
    if source.policy.send_token {
        let text = format!("{name}: is asked with each user's own token");
        return findings.warn(CHECK, text, "--token-file has it asked about that token's user");
    }
    let Ok(question) = source.question(&claims, &[]) else {
        let text = format!("{name}: its path or body needs claims that only a token has");
        return findings.warn(CHECK, text, "--token-file has it asked about that token's user");
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut steps = Vec::new();
    let asked = directory::ask(source, callout, &question, now, &mut |step| steps.push(step));
    let limits = limits(&steps);
    let url = &callout.url;
    let good = |what: &str| {
        format!(
            "{name}: {url} answers and takes the credential, {what}{limits}; asked by this program, whose TLS is not Envoy's"
        )
    };
    match asked {
        Ok(_) => findings.ok(CHECK, good("also about a user who does not exist")),
        Err(error) => match error.status() {
            // Products say in either way that there is no such user.
            Some(400 | 404) => findings.ok(CHECK, good("and knows no user who does not exist")),
            Some(429) => findings.warn(
                CHECK,
                format!("{name}: {error}{limits}"),
                "it is asked too often: a lower requestsPerSecond, a longer groupCache.lifetimeSeconds",
            ),
            status => {
                let cure = remedy(&error, status, source);
                findings.fail(CHECK, format!("{name}: {}: {error}{limits}", error.cause().words()), cure);
            }
        },
    }
}

/// What is to be done.
fn remedy(error: &AskError, status: Option<u16>, source: &Source) -> String {
    let least = match source.policy.provider {
        Provider::Entra => {
            "the application permission GroupMember.Read.All, with an administrator's consent"
        }
        Provider::Keycloak => {
            "the role view-users of the client realm-management, for its service account"
        }
        Provider::Okta => {
            "the scope okta.groups.read, granted, and a role that may read users and groups"
        }
        Provider::Google => {
            "the scope admin.directory.group.readonly, in the domain-wide delegation, and an administrator as subject"
        }
        Provider::Userinfo | Provider::Http => "whatever lets it read a user's groups",
    };
    match (error, status) {
        (AskError::Token(TokenError::Refused { status: 400 | 401 | 403, .. }), _) => {
            "the issuer does not take the client's secret or key: write the one that counts into its file; look at the client's id, its \
             scopes and, for an assertion, at keyID, subject and clocks"
                .to_owned()
        }
        (AskError::Token(TokenError::File { .. }) | AskError::File { .. }, _) => {
            "mount the file, readable for the gateway's user, or name the one that is there".to_owned()
        }
        (AskError::Token(TokenError::Key { .. }), _) => {
            "give it the private key in PEM, of RSA from 2048 bits or P-256, or Google's JSON".to_owned()
        }
        (_, Some(401)) => "it does not take the credential: has the token expired, or is the secret another server's?".to_owned(),
        (_, Some(403)) => {
            let quota = if source.policy.provider == Provider::Google { "; or its quota is used up" } else { "" };
            format!("the credential may not read groups; it needs {least} (docs/groups.md){quota}")
        }
        (AskError::Answer { .. }, Some(200)) => {
            "is url the API's, and nothing's that answers in its place? groups, check and pages say how an answer is read".to_owned()
        }
        _ => match error.cause() {
            Cause::UnknownAuthority => {
                "certificateAuthority of the source, or the system's CAs, must have the CA; the server must send its intermediates"
                    .to_owned()
            }
            Cause::HttpStatus => "look into the server's own log; docs/groups.md says what happens meanwhile".to_owned(),
            cause => cure::plain(cause),
        },
    }
}

/// What it says of how often it may be asked.
fn limits(steps: &[String]) -> String {
    let said = steps.iter().rev().find_map(|step| {
        let (_, rest) = step.split_once(" ms (")?;
        rest.split_once(')').map(|(limits, _)| limits)
    });
    said.map(|limits| format!(" ({limits})")).unwrap_or_default()
}
