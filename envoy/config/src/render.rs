//! From inputs to the text of every file.

use std::iter;

use gateway_core::config::ClientImpersonation;
use gateway_net::Dns;
use minijinja::{Environment, Value, value::Serde};
use rustls_pki_types::{CertificateDer, pem::PemObject};

use crate::{
    context::{Certificate, Context, certificates},
    error::{MAX_SOCKET_PATH, RenderError},
    inputs::{Credential, Inputs},
    limits::Bound,
    paths::{access_socket, probe_socket},
    portal::part::add_templates,
    rendered::{File, Rendered},
    templates,
    traces::{self, Trust},
    upstream::{token_clusters, token_file},
};

/// Renders the files of a gateway.
pub fn render(inputs: &Inputs) -> Result<Rendered, RenderError> {
    check(inputs)?;
    let mut engine = templates::engine()?;
    add_templates(&mut engine)?;
    let context = Context::new(inputs)?;
    let mut files = match &context.portal {
        Some(portal) => portal.secret_files(&engine)?,
        None => Vec::new(),
    };
    for certificate in certificates(inputs)? {
        files.push(certificate_file(&engine, &certificate)?);
    }
    let context = Value::from(Serde(context));
    for cluster in token_clusters(inputs) {
        let text = engine
            .get_template(templates::TOKEN)?
            .render(minijinja::context! { cluster, ..context.clone() })?;
        files.push(File { name: token_file(cluster), text });
    }
    for name in order(inputs.documents.client_impersonation())
        .into_iter()
        .filter(|name| needed(name, inputs))
    {
        let text = engine.get_template(name)?.render(context.clone())?;
        files.push(File { name: name.to_owned(), text });
    }
    Ok(Rendered::of(files, inputs.options.concurrency))
}

/// The file in which Envoy finds a certificate that clients see.
pub(crate) fn certificate_file(
    engine: &Environment<'_>,
    certificate: &Certificate<'_>,
) -> Result<File, RenderError> {
    let context = minijinja::context! { certificate => Value::from(Serde(certificate)) };
    let text = engine.get_template(templates::SERVING)?.render(context)?;
    Ok(File { name: format!("secret-{}.yaml", certificate.name), text })
}

/// The order in which a change of all files is safe at every step.
///
/// What is referred to comes before what refers to it. The native strip comes before a filter that relies on it, and a gate
/// that compares comes before a strip that no longer takes away.
fn order(mode: ClientImpersonation) -> [&'static str; 14] {
    let [first, last] = match mode {
        ClientImpersonation::Strip => ["filter-strip.yaml", "filter-gate.yaml"],
        ClientImpersonation::Reject | ClientImpersonation::Authorize => {
            ["filter-gate.yaml", "filter-strip.yaml"]
        }
    };
    [
        "secret-apiserver-ca.yaml",
        "secret-apiserver-certificate.yaml",
        "secret-issuer-certificate.yaml",
        "secret-system-ca.yaml",
        traces::CA_FILE,
        traces::TOKEN_FILE,
        "clusters.yaml",
        "routes.yaml",
        "routes-probe.yaml",
        first,
        "filter-gateway.yaml",
        "filter-connections.yaml",
        last,
        "envoy.yaml",
    ]
}

/// Whether a gateway of these inputs has the file.
fn needed(name: &str, inputs: &Inputs) -> bool {
    let collector = inputs.options.traces.as_ref().map(|traces| &traces.collector);
    match name {
        "secret-apiserver-ca.yaml" => inputs.apiserver.ca.is_some(),
        "secret-apiserver-certificate.yaml" => {
            matches!(inputs.apiserver.credential, Credential::Certificate(_))
        }
        "secret-issuer-certificate.yaml" => inputs.issuer_certificate.is_some(),
        traces::CA_FILE => {
            matches!(collector.and_then(|it| it.tls.as_ref()), Some(Trust::File(_)))
        }
        traces::TOKEN_FILE => collector.is_some_and(|it| it.token.is_some()),
        "filter-connections.yaml" => inputs.options.counts_connections(),
        _ => true,
    }
}

fn check(inputs: &Inputs) -> Result<(), RenderError> {
    let probe = probe_socket(&inputs.admin_socket);
    let access = access_socket(&inputs.admin_socket);
    let access = inputs.options.access.then_some(("access", &access));
    let sockets = [("admin", &inputs.admin_socket), ("probe", &probe)];
    for (what, path) in sockets.into_iter().chain(access) {
        if path.as_os_str().len() > MAX_SOCKET_PATH {
            return Err(RenderError::LongSocketPath { what, path: path.clone() });
        }
    }
    for issuer in inputs.reached() {
        if let Some(pem) = &issuer.certificate_authority {
            check_bundle(pem).map_err(|reason| RenderError::BadCertificateAuthority {
                issuer: issuer.url.clone(),
                reason,
            })?;
        }
    }
    if let Some(portal) = &inputs.portal {
        let host = portal.host.as_ref().map_or("", Dns::as_str);
        let mut named = inputs.options.protocols.certificates.iter().flat_map(|it| &it.names);
        if host.is_empty() || named.any(|name| name.eq_ignore_ascii_case(host)) {
            return Err(RenderError::PortalName { name: host.to_owned() });
        }
    }
    check_limits(inputs)
}

fn check_bundle(pem: &str) -> Result<(), String> {
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        certificate.map_err(|error| error.to_string())?;
        count += 1;
    }
    if count == 0 { Err("it holds none".to_owned()) } else { Ok(()) }
}

fn check_limits(inputs: &Inputs) -> Result<(), RenderError> {
    let workers = u64::from(inputs.options.concurrency.unwrap_or(1));
    let workers = Bound { name: "concurrency", value: workers, least: 1, most: 1024 };
    for bound in iter::once(workers).chain(inputs.options.limits.bounds()) {
        let Bound { name, value, least, most } = bound;
        if !(least..=most).contains(&value) {
            return Err(RenderError::BadLimit { name, value, least, most });
        }
    }
    Ok(())
}
