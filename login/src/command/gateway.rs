//! A server for `setup`: whom to believe to be it, and, if it is a gateway that says so, where to log in.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ureq::http::Request;

use super::{describe::Rows, error::CommandError, standard::has_terminal};
use crate::{
    cli::{ClusterFlags, Fingerprint, Setup},
    console::Console,
    http::{Http, HttpError},
    kubeconfig::Cluster,
    metadata::{Gateway, MetadataError, Told},
    path::path_of,
    settings::Trust,
    terminal,
};

/// A server, and what it calls its cluster.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub cluster: Cluster,
    /// The cluster's name, as the gateway says.
    pub told: Option<String>,
}

/// Whom to believe to be the server: an authority in a file, one by its fingerprint, or the system's.
pub(super) fn trust_of(
    server: &str,
    flags: &ClusterFlags,
    console: Console,
) -> Result<Trust, CommandError> {
    let files = flags.cluster_certificate_authority.as_deref().and_then(path_of);
    let data = flags.ca_fingerprint.map(|it| authority(server, it, console)).transpose()?;
    Ok(Trust {
        files: files.into_iter().collect(),
        data: data.into_iter().collect(),
        insecure: flags.cluster_insecure_skip_tls_verify,
    })
}

/// The authority of this fingerprint, which the server shows and by which it is certified: PEM in base64.
fn authority(
    server: &str,
    fingerprint: Fingerprint,
    console: Console,
) -> Result<String, MetadataError> {
    let (http, pin) = Http::pinned(fingerprint.0, console)?;
    let url = format!("{server}/version");
    let invalid = |reason: &str| HttpError::Body { url: url.clone(), reason: reason.to_owned() };
    let request = Request::get(&url).body(Vec::new());
    http.call(request.map_err(|_| invalid("its address is not valid"))?)?;
    // Without TLS nobody shows a certificate.
    let found = pin.found().ok_or_else(|| invalid("it does not speak TLS"))?;
    let base64 = STANDARD.encode(found);
    let lines: Vec<_> = base64.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    let body = lines.join("\n");
    let pem = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
    Ok(STANDARD.encode(pem))
}

/// The flags with what the gateway at `url` says in the place of those that were not given, if the person agrees.
pub(super) fn told(
    flags: &Setup,
    url: &str,
    console: Console,
) -> Result<(Setup, Server), CommandError> {
    let gateway = Gateway::parse(url)?;
    for (given, flag) in [
        (flags.cluster.server.is_some(), "--server"),
        (flags.cluster.cluster_insecure_skip_tls_verify, "--cluster-insecure-skip-tls-verify"),
    ] {
        if given {
            return Err(CommandError::Other(format!(
                "{flag} does not go with the URL of a gateway, whose word on where to log in is taken only over TLS that is vouched for; leave it out"
            )));
        }
    }
    let trust = trust_of(gateway.url(), &flags.cluster, console)?;
    let issuer = &flags.connect.issuer;
    let wanted = flags.issuer.as_deref().or(issuer.oidc_issuer_url.as_deref());
    let wanted = wanted.filter(|wanted| !wanted.trim().is_empty());
    let told = gateway.ask(&trust, wanted, console)?;
    let mut filled = flags.clone();
    fill(&mut filled, &told)?;
    agree(&gateway, &told, &filled, console)?;
    let cluster =
        Cluster { server: gateway.url().to_owned(), trust, tls_server_name: None, proxy_url: None };
    Ok((filled, Server { cluster, told: told.cluster }))
}

/// Puts what was told where nobody has said something else: among the settings, and among the arguments to write.
fn fill(flags: &mut Setup, told: &Told) -> Result<(), CommandError> {
    let Setup { connect, given, .. } = flags;
    let issuer = &mut connect.issuer;
    let is_said = |value: &Option<String>| value.as_ref().is_some_and(|it| !it.trim().is_empty());
    if !is_said(&issuer.oidc_issuer_url) {
        given.arguments.push(format!("--oidc-issuer-url={}", told.issuer));
        issuer.oidc_issuer_url = Some(told.issuer.clone());
    }
    if !is_said(&issuer.oidc_client_id) {
        let id = told.client_id.clone().ok_or_else(|| {
            CommandError::Other(format!(
                "the gateway does not say which client of {} to be; give --oidc-client-id",
                told.issuer
            ))
        })?;
        given.arguments.push(format!("--oidc-client-id={id}"));
        issuer.oidc_client_id = Some(id);
    }
    if issuer.oidc_extra_scope.is_empty() && !told.scopes.is_empty() {
        given.arguments.push(format!("--oidc-extra-scope={}", told.scopes.join(" ")));
        issuer.oidc_extra_scope.clone_from(&told.scopes);
    }
    Ok(())
}

/// Shows what a login would be, and asks.
fn agree(
    gateway: &Gateway,
    told: &Told,
    flags: &Setup,
    console: Console,
) -> Result<(), CommandError> {
    let issuer = &flags.connect.issuer;
    let mut rows = Rows::default();
    rows.add("The gateway", gateway.url());
    rows.add("  cluster", told.cluster.as_deref().unwrap_or("(without a name)"));
    rows.add("  issuer", &told.issuer);
    rows.add("  client", issuer.oidc_client_id.as_deref().unwrap_or_default());
    let scopes = ["openid"].into_iter().chain(issuer.oidc_extra_scope.iter().map(String::as_str));
    rows.add("  scopes", scopes.collect::<Vec<_>>().join(" "));
    console.say_all(rows.lines());
    if flags.yes {
        // Nobody looks at what the gateway says, and it may say something else than the last time.
        let sends = issuer.oidc_client_secret.is_some() || flags.connect.login.password.is_some();
        if sends && flags.issuer.is_none() {
            return Err(CommandError::Other(
                "a secret or a password goes to the issuer: with --yes name it with --issuer"
                    .to_owned(),
            ));
        }
        return Ok(());
    }
    if !has_terminal() {
        return Err(CommandError::Other(
            "nobody is there to agree to this; give --yes, once issuer and client are the right ones"
                .to_owned(),
        ));
    }
    let answer = terminal::line("Write this into the kubeconfig, and log in there? [y/N] ");
    match answer.unwrap_or_default().trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(CommandError::Other(
            "nothing was written; --issuer and --oidc-client-id choose others".to_owned(),
        )),
    }
}
