//! `doctor`: everything that a login depends on, tried one after the other, each with its cure.

mod redirect;

use std::time::Instant;

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use ureq::http::{Request, header};

use self::redirect::Told;
use super::{
    describe::{Rows, when},
    error::CommandError,
    kuberc::{self, Verdict},
    standard::print,
    target::Target,
};
use crate::{
    cli::{Doctor, OutputFormat, StoreKind},
    cluster,
    console::{Console, json as printed_as_json},
    issuer::Issuer,
    kubeconfig::Cluster,
    session::{Effort, Session},
    settings::{Grant, Settings},
    store::{KeyringError, KeyringStore, Record, check_folder},
    verify::span,
};

/// Clocks that differ by less are good enough; by more than the second, tokens are refused.
const NOTICEABLE: TimeDelta = TimeDelta::seconds(5);
const TOO_MUCH: TimeDelta = TimeDelta::seconds(60);

/// What became of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ok,
    Warning,
    Failed,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// One check.
struct Finding {
    check: &'static str,
    state: State,
    message: String,
    cure: Option<String>,
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, check: &'static str, state: State, message: String, cure: Option<&str>) {
        self.0.push(Finding { check, state, message, cure: cure.map(str::to_owned) });
    }

    fn ok(&mut self, check: &'static str, message: impl Into<String>) {
        self.add(check, State::Ok, message.into(), None);
    }

    fn warn(&mut self, check: &'static str, message: impl Into<String>, cure: &str) {
        self.add(check, State::Warning, message.into(), Some(cure));
    }

    fn fail(&mut self, check: &'static str, message: impl Into<String>, cure: &str) {
        self.add(check, State::Failed, message.into(), Some(cure));
    }

    /// An error, whose text has the way out in it.
    fn error(&mut self, check: &'static str, error: &dyn std::fmt::Display) {
        let text = error.to_string();
        let (message, cure) = text.split_once("; ").unwrap_or((&text, ""));
        let cure = Some(cure).filter(|cure| !cure.is_empty());
        self.add(check, State::Failed, message.to_owned(), cure);
    }
}

/// Tries everything and tells.
pub fn run(flags: &Doctor) -> Result<(), CommandError> {
    let console = flags.connect.messages.console();
    let mut findings = Findings::default();
    match Target::find(&flags.connect, &flags.kubeconfig) {
        Ok(target) => {
            findings.ok("kubeconfig", described(&target.settings));
            of_login(&mut findings, &target, console);
        }
        Err(error) => findings.error("kubeconfig", &error),
    }
    match kuberc::check() {
        Some(Verdict { allowed: true, reason, .. }) => findings.ok("kuberc policy", reason),
        Some(Verdict { reason, cure, .. }) => findings.fail("kuberc policy", reason, &cure),
        None => {}
    }
    let failed = findings.0.iter().filter(|finding| finding.state == State::Failed).count();
    print(&match flags.output {
        OutputFormat::Json => document(&findings),
        OutputFormat::Text => text(&findings),
    })?;
    match failed {
        0 => Ok(()),
        1 => Err(CommandError::Other(
            "one check failed; its line says what to do: correct it and try again".to_owned(),
        )),
        many => Err(CommandError::Other(format!(
            "{many} checks failed; their lines say what to do: correct that and try again"
        ))),
    }
}

fn described(settings: &Settings) -> String {
    format!("client {:?} at {}", settings.client.id, settings.client.issuer)
}

fn of_login(findings: &mut Findings, target: &Target, console: Console) {
    let settings = &target.settings;
    store(findings, settings);
    if !settings.client.issuer.is_empty() {
        proxy(findings, settings);
        ports(findings, settings);
        issuer(findings, settings, console);
    }
    let session = Session::new(settings, console);
    match session.token(Effort::Silent) {
        Ok(record) => {
            login(findings, settings, &record);
            if let Some(cluster) = &target.cluster {
                gateway(findings, cluster, Some(&record), console);
            }
        }
        Err(error) => {
            findings.error("login", &error);
            if let Some(cluster) = &target.cluster {
                gateway(findings, cluster, None, console);
            }
        }
    }
}

/// The keyring, with its time, and the folder.
fn store(findings: &mut Findings, settings: &Settings) {
    let store = &settings.store;
    if let Err(error) = store.folders().try_for_each(check_folder) {
        findings.error("token folder", &error);
    }
    if !matches!(store.kind, StoreKind::Auto | StoreKind::Keyring) {
        return;
    }
    let start = Instant::now();
    let opened = KeyringStore::open();
    let answered = opened.and_then(|keyring| keyring.load(&crate::store::key(settings)));
    let took = format!("{} ms", start.elapsed().as_millis());
    let cure = "--token-store=file in the stanza does without it";
    match answered {
        Ok(_) => findings.ok("keyring", format!("answers in {took}")),
        Err(KeyringError::Absent(_)) if store.kind == StoreKind::Auto => findings.warn(
            "keyring",
            format!("there is none here; tokens are kept in {}", store.dir.display()),
            "start a keyring (GNOME Keyring, KDE Wallet, KeePassXC), or set --token-store=file",
        ),
        Err(error) => findings.fail("keyring", format!("{error} (after {took})"), cure),
    }
}

fn proxy(findings: &mut Findings, settings: &Settings) {
    match crate::http::proxy_for(&settings.client.issuer) {
        Ok(Some(proxy)) => findings.ok("proxy", format!("{proxy} leads to the issuer")),
        Ok(None) => findings.ok("proxy", "none leads to the issuer"),
        Err(error) => findings.error("proxy", &error),
    }
}

fn ports(findings: &mut Findings, settings: &Settings) {
    let browser = matches!(settings.login.grant, Grant::BrowserOrDevice | Grant::AuthorizationCode);
    if !browser {
        return;
    }
    match crate::callback::Listener::bind(&settings.login, None) {
        Ok(listener) => {
            findings.ok("port", format!("{} can be listened on", listener.redirect_uri()));
        }
        Err(error) => findings.error("port", &error),
    }
}

/// Certificate, documents, clock, scopes and the redirect URI.
fn issuer(findings: &mut Findings, settings: &Settings, console: Console) {
    let start = Instant::now();
    let issuer = match Issuer::connect(settings, &crate::store::key(settings), console) {
        Ok(issuer) => issuer,
        Err(error) => return findings.error("issuer", &error),
    };
    let took = start.elapsed().as_millis();
    let trust = match settings.trust.files.len() + settings.trust.data.len() {
        _ if settings.trust.insecure => {
            findings.warn(
                "certificate",
                "is not checked",
                "--certificate-authority instead of --insecure-skip-tls-verify",
            );
            "no certificate is checked"
        }
        0 => "its certificate is known to the system",
        _ => "its certificate is of the authority given",
    };
    findings.ok("issuer", format!("answers in {took} ms; {trust}"));
    if let Err(error) = issuer.check_keys() {
        findings.error("keys", &error);
    }
    clock(findings, issuer.oauth.http().skew());
    let metadata = issuer.oauth.metadata();
    let absent = metadata.scopes_not_offered(&settings.client.scopes);
    if absent.is_empty() {
        findings.ok("scopes", settings.client.scopes.join(" "));
    } else {
        findings.warn(
            "scopes",
            format!("the issuer does not list {}", absent.join(" ")),
            "leave them out of --oidc-extra-scope, or allow them at the issuer",
        );
    }
    if matches!(settings.login.grant, Grant::BrowserOrDevice | Grant::AuthorizationCode) {
        redirect(findings, settings, &issuer);
    }
}

fn clock(findings: &mut Findings, ahead: Option<TimeDelta>) {
    let Some(ahead) = ahead else { return };
    let cure = "set this machine's clock (timedatectl set-ntp true), or have the issuer's set";
    let text = || {
        let way = if ahead > TimeDelta::zero() { "behind" } else { "ahead of" };
        format!("this machine's clock is {} {way} the issuer's", span(ahead))
    };
    match ahead.abs() {
        by if by > TOO_MUCH => findings.fail("clock", text(), cure),
        by if by > NOTICEABLE => findings.warn("clock", text(), cure),
        _ => findings.ok("clock", "agrees with the issuer's"),
    }
}

/// Whether the issuer takes the redirect URI, and the login that is to end there, before anybody logs in.
fn redirect(findings: &mut Findings, settings: &Settings, issuer: &Issuer) {
    let Ok(listener) = crate::callback::Listener::bind(&settings.login, None) else { return };
    let uri = listener.redirect_uri().to_owned();
    drop(listener);
    let Ok(mut authorization) = issuer.authorization(&uri) else { return };
    authorization.url.query_pairs_mut().append_pair("prompt", "none");
    let request = Request::get(authorization.url.as_str()).body(Vec::new());
    let Ok(Ok(answer)) = request.map(|request| issuer.oauth.http().call(request)) else { return };
    let location = answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    let client = &settings.client.id;
    let register = format!("register {uri} for client {client:?} at the issuer");
    match redirect::told(&uri, answer.status().as_u16(), location) {
        Told::Registered => findings.ok("redirect URI", format!("the issuer answers at {uri}")),
        Told::Refused(why) => {
            findings.ok("redirect URI", format!("the issuer answers at {uri}"));
            findings.fail(
                "login request",
                format!("the issuer refuses it: {why}"),
                &format!(
                    "allow it for client {client:?} at the issuer, or change the stanza's flags"
                ),
            );
        }
        Told::NotTaken(status) => findings.fail(
            "redirect URI",
            format!("the issuer answers {status} to a login that is to end at {uri}"),
            &register,
        ),
        Told::Unknown => findings.warn(
            "redirect URI",
            format!(
                "only a browser can tell whether the issuer knows {uri}: it shows a page of its own"
            ),
            &format!("if that page complains, {register}"),
        ),
    }
}

/// What is stored.
fn login(findings: &mut Findings, settings: &Settings, record: &Record) {
    let name = record.person().unwrap_or_default();
    let until = record.expiry().map(|expiry| when(expiry, Utc::now())).unwrap_or_default();
    findings.ok("login", format!("{name}, until {until}"));
    let lasting = matches!(settings.login.grant, Grant::Ready(_) | Grant::ClientCredentials);
    if record.refresh_token.is_some() {
        findings.ok("refresh token", "renews the login silently");
    } else if !lasting {
        findings.warn(
            "refresh token",
            "there is none: each token asks for a login",
            "--oidc-extra-scope=offline_access, if the issuer and the client allow it",
        );
    }
    let Some(claims) = record.claims() else { return };
    match claims.all().get("groups") {
        Some(Value::Array(groups)) => findings.ok("groups", format!("{} in the claim groups", groups.len())),
        Some(_) => findings.ok("groups", "the claim groups holds one"),
        None => findings.warn("groups", "the token has no claim groups", "a scope (--oidc-extra-scope=groups) or a mapper at the issuer puts them in; roles by user name need none"),
    }
}

fn gateway(findings: &mut Findings, cluster: &Cluster, record: Option<&Record>, console: Console) {
    let start = Instant::now();
    let Some(record) = record else {
        match cluster::reach(cluster, console) {
            Ok(()) => findings.ok(
                "cluster",
                format!("{} answers in {} ms", cluster.server, start.elapsed().as_millis()),
            ),
            Err(error) => findings.error("cluster", &error),
        }
        return;
    };
    match cluster::who_am_i(cluster, &record.token, console) {
        Ok(user) => findings.ok(
            "cluster",
            format!(
                "{} sees {} in {} groups, in {} ms",
                cluster.server,
                user.username,
                user.groups.len(),
                start.elapsed().as_millis()
            ),
        ),
        Err(error) => findings.error("cluster", &error),
    }
}

fn text(findings: &Findings) -> String {
    let mut rows = Rows::default();
    for finding in &findings.0 {
        rows.add(finding.check, format!("{:7}  {}", finding.state.name(), finding.message));
        if let Some(cure) = &finding.cure {
            rows.add("", format!("         → {cure}"));
        }
    }
    rows.lines().join("\n")
}

fn document(findings: &Findings) -> String {
    let rows = findings.0.iter().map(|finding| {
        let mut row = json!({
            "check": finding.check, "result": finding.state.name(), "message": finding.message,
        });
        if let Some(cure) = &finding.cure {
            row["cure"] = json!(cure);
        }
        row
    });
    printed_as_json(&rows.collect())
}
