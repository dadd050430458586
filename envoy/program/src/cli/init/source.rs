//! A group source of the provider's own directory, as docs/groups.md has it.

use gateway_core::config::{API_VERSION, KIND};
use serde_json::{Map, Value, json};

use super::{
    answers::{Answers, Plan},
    ask::Asker,
    provider::Provider,
};
use crate::cli::error::Error;

/// What the chart calls the Secret with the credential.
const CREDENTIAL: &str = "group-source";
/// Where the pod then finds the credential's file.
const FOLDER: &str = "/etc/kube-oidc-gateway/credentials/group-source";
/// The claim whose place the groups take where tokens have none.
const CLAIM: &str = "groups";

/// The directory that is to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Who the gateway is to it.
    client: String,
    /// The key's id, where an assertion has one.
    key_id: String,
    /// As whom it asks, where it acts as somebody.
    subject: String,
}

impl Provider {
    /// Whether its directory can be asked.
    pub fn has_directory(self) -> bool {
        matches!(self, Self::Entra | Self::Google | Self::Keycloak | Self::Okta)
    }

    /// The name of the file with the gateway's credential.
    fn credential_file(self) -> &'static str {
        match self {
            Self::Okta => "key.pem",
            Self::Google => "key.json",
            _ => "client-secret",
        }
    }
}

impl Answers {
    /// The directory to ask, if one is to be.
    pub(super) fn directory(
        &self,
        provider: Provider,
        asker: &mut Asker,
    ) -> Result<Option<Directory>, Error> {
        if !self.group_source {
            return Ok(None);
        }
        if !provider.has_directory() {
            let text = "--group-source: entra, google, keycloak and okta have a directory that is known here; docs/groups.md says how any \
                        other server is asked";
            return Err(Error::Usage(text.to_owned()));
        }
        let mut ask = |said: &Option<String>, question: &str, flag: &str| match said {
            Some(said) => Ok(said.clone()),
            None => asker.ask(question, None, flag),
        };
        let question = match provider {
            Provider::Google => "E-mail address of the service account that reads groups",
            _ => "ID of the client that reads groups",
        };
        let client = ask(&self.group_source_client_id, question, "--group-source-client-id")?;
        let key_id = match provider {
            Provider::Okta => {
                ask(&self.group_source_key_id, "ID of its key (kid)", "--group-source-key-id")?
            }
            _ => String::new(),
        };
        let subject = match provider {
            Provider::Google => {
                let question = "Administrator as whom it reads them";
                ask(&self.group_source_subject, question, "--group-source-subject")?
            }
            _ => String::new(),
        };
        Ok(Some(Directory { client, key_id, subject }))
    }
}

/// The claim with the groups: that of the token, or one that a source fills.
pub(super) fn claim(claim: String, directory: Option<&Directory>) -> String {
    if claim.is_empty() && directory.is_some() { CLAIM.to_owned() } else { claim }
}

impl Plan {
    /// The chart's values for the source, if there is one: its document's field, and the Secret with the credential.
    pub(super) fn add_source(&self, values: &mut Map<String, Value>) {
        let Some(directory) = &self.directory else { return };
        let document = values
            .entry("gatewayConfiguration")
            .or_insert_with(|| json!({"apiVersion": API_VERSION, "kind": KIND}));
        document["groupSources"] = json!([self.source(directory)]);
        let credential = json!({"name": CREDENTIAL, "secretName": self.source_secret()});
        values.insert("credentials".to_owned(), json!([credential]));
    }

    fn source(&self, directory: &Directory) -> Value {
        let Directory { client, key_id, subject } = directory;
        let issuer = self.issuer_url.trim_end_matches('/');
        let file = format!("{FOLDER}/{}", self.provider.credential_file());
        let mut source = json!({"name": "directory", "issuer": self.issuer_url});
        let (provider, credential) = match self.provider {
            Provider::Entra => {
                source["when"] = json!("Overflow");
                // As those that the token has.
                source["value"] = json!("ids");
                let tenant = issuer.trim_end_matches("/v2.0");
                let credential = json!({"oauth2": {
                    "tokenEndpoint": format!("{tenant}/oauth2/v2.0/token"),
                    "clientID": client,
                    "clientSecretFile": file,
                    "scopes": ["https://graph.microsoft.com/.default"],
                    "secretInBody": true,
                }});
                ("entra", credential)
            }
            Provider::Keycloak => {
                source["url"] = json!(issuer.split_once("/realms/").map_or(issuer, |(url, _)| url));
                let credential = json!({"oauth2": {
                    "tokenEndpoint": format!("{issuer}/protocol/openid-connect/token"),
                    "clientID": client,
                    "clientSecretFile": file,
                }});
                ("keycloak", credential)
            }
            Provider::Okta => {
                let origin = issuer.split('/').take(3).collect::<Vec<_>>().join("/");
                source["url"] = json!(origin);
                let credential = json!({"assertion": {
                    "tokenEndpoint": format!("{origin}/oauth2/v1/token"),
                    "clientID": client,
                    "keyFile": file,
                    "keyID": key_id,
                    "scopes": ["okta.groups.read"],
                }});
                ("okta", credential)
            }
            _ => {
                let credential = json!({"assertion": {
                    "tokenEndpoint": "https://oauth2.googleapis.com/token",
                    "grant": "jwtBearer",
                    "clientID": client,
                    "subject": subject,
                    "keyFile": file,
                    "scopes": ["https://www.googleapis.com/auth/admin.directory.group.readonly"],
                }});
                ("google", credential)
            }
        };
        source["provider"] = json!(provider);
        source["credential"] = credential;
        source
    }

    fn source_secret(&self) -> String {
        format!("{}-group-source", self.fullname())
    }

    /// What makes the Secret that the pod mounts, and the namespace for it; to be run before the install.
    pub fn for_source(&self) -> Vec<String> {
        if self.directory.is_none() {
            return Vec::new();
        }
        let (namespace, name) = (&self.namespace, self.source_secret());
        let file = self.provider.credential_file();
        vec![
            format!("kubectl create namespace {namespace}"),
            format!("kubectl -n {namespace} create secret generic {name} --from-file={file}=FILE"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;
    use gateway_config::Documents;

    use super::{super::ask::nobody, *};

    fn answers(provider: Provider) -> Answers {
        Answers {
            provider: Some(provider),
            oidc_issuer_url: Some(provider.preset().issuer.to_owned()),
            oidc_client_id: Some("kubernetes".to_owned()),
            hosted_domain: Some("example.com".to_owned()),
            group_source: true,
            group_source_client_id: Some("reader".to_owned()),
            group_source_key_id: Some("k1".to_owned()),
            group_source_subject: Some("admin@example.com".to_owned()),
            ..Answers::default()
        }
    }

    #[test]
    fn a_source_of_each_directory_is_a_good_document_with_its_secret_mounted() {
        for provider in Provider::value_variants() {
            let plan = answers(*provider).plan(&mut nobody());
            if !provider.has_directory() {
                let error = plan.unwrap_err().to_string();
                assert!(error.contains("--group-source"), "{provider:?}: {error}");
                continue;
            }
            let plan = plan.unwrap();
            let values = plan.values();
            let gateway = values["gatewayConfiguration"].clone();
            let documents = Documents::from_values(&plan.authentication(), Some(gateway.clone()));
            documents.unwrap_or_else(|error| panic!("{provider:?}: {error}"));
            let source = gateway["groupSources"][0].to_string();
            let name = values["credentials"][0]["name"].as_str().unwrap();
            let file =
                format!("/etc/kube-oidc-gateway/credentials/{name}/{}", provider.credential_file());
            assert!(source.contains(&file) && source.contains("\"reader\""), "{source}");
            let secret = values["credentials"][0]["secretName"].as_str().unwrap();
            let line = plan.for_source().pop().unwrap();
            assert!(line.contains(secret) && line.contains(provider.credential_file()), "{line}");
        }
    }

    #[test]
    fn what_a_source_needs_is_asked_for_or_named_by_its_flag() {
        for (provider, take, flag) in [
            (Provider::Entra, "client", "--group-source-client-id"),
            (Provider::Okta, "key", "--group-source-key-id"),
            (Provider::Google, "subject", "--group-source-subject"),
        ] {
            let mut lacking = answers(provider);
            match take {
                "client" => lacking.group_source_client_id = None,
                "key" => lacking.group_source_key_id = None,
                _ => lacking.group_source_subject = None,
            }
            let error = lacking.plan(&mut nobody()).unwrap_err().to_string();
            assert!(error.contains(flag), "{provider:?}: {error}");
        }
        let without = Answers { group_source: false, ..answers(Provider::Entra) };
        let plan = without.plan(&mut nobody()).unwrap();
        assert!(plan.values().get("credentials").is_none() && plan.for_source().is_empty());
    }
}
