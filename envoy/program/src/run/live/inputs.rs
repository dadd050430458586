//! From the settings to what is rendered: the program's own copies stand in the place of the given files.

use std::collections::BTreeMap;

use gateway_client::CredentialSource;
use gateway_config::{
    ApiServer, Candidates, Credential, Documents, Inputs, NamedCertificate, Options, Protocols,
    ServingCertificate, portal::Part,
};

use super::{
    super::{settings::Settings, subject::Subject, volume::Volume},
    admin_socket,
};

pub(super) fn of(
    settings: &Settings,
    documents: Documents,
    volumes: &BTreeMap<Subject, Volume>,
) -> Inputs {
    let file = |subject: Subject, name: &str| {
        volumes.get(&subject).map(|volume| volume.path(name)).unwrap_or_default()
    };
    let pair = |subject: Subject| ServingCertificate {
        chain: file(subject, "tls.crt"),
        key: file(subject, "tls.key"),
    };
    let named = settings.named.iter().enumerate().map(|(index, (_, names))| NamedCertificate {
        certificate: pair(Subject::Named(index)),
        names: names.clone(),
    });
    Inputs {
        directory: settings.run_directory.join("envoy"),
        options: Options {
            protocols: Protocols {
                certificates: named.collect(),
                ..settings.options.protocols.clone()
            },
            ..settings.options.clone()
        },
        serving: pair(Subject::Serving),
        apiserver: ApiServer {
            host: settings.apiserver.host.clone(),
            port: settings.apiserver.port,
            ca: settings.apiserver.ca.as_ref().map(|_| file(Subject::ApiServerCa, "ca.crt")),
            server_name: settings.apiserver.server_name.clone(),
            credential: match settings.apiserver.credential {
                CredentialSource::Token(_) => Credential::Token(file(Subject::Credential, "token")),
                CredentialSource::Certificate(_) => {
                    Credential::Certificate(pair(Subject::Credential))
                }
            },
        },
        documents,
        leaving: Vec::new(),
        candidates: Candidates::default(),
        system_ca: file(Subject::SystemCa, "ca.crt"),
        issuer_certificate: settings
            .issuer_certificate
            .as_ref()
            .map(|_| pair(Subject::IssuerCertificate)),
        admin_socket: admin_socket(settings),
        access_log: "/dev/stdout".into(),
        portal: settings.portal.as_ref().map(|portal| Part {
            serving: portal.serving.as_ref().map(|_| pair(Subject::Portal)),
            ..portal.part.clone()
        }),
    }
}
