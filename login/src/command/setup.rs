//! `setup`: from an issuer and a server to a kubeconfig that works, with one login in between.

use std::{env, fs, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::Utc;
use serde_json::{Map, Value, json};
use url::Url;

use super::{
    describe::{Rows, claim},
    error::CommandError,
    gateway::{self, Server},
    kuberc::{self, Verdict},
    standard::{has_terminal, print},
    whoami::add_user,
};
use crate::{
    claims::Claims,
    cli::{ClusterFlags, Given, Setup},
    cluster::{self, ClusterError},
    console::{Console, plain},
    kubeconfig::{Change, Cluster, Files, Kubeconfig, KubeconfigError, apply, preview},
    session::{Effort, Session, SessionError},
    settings::{Settings, SettingsError, is_loopback},
};

/// Logs in and writes the kubeconfig.
pub fn run(flags: &Setup) -> Result<(), CommandError> {
    let console = flags.connect.messages.console();
    let (flags, server) = match (flags.gateway.as_deref(), flags.cluster.server.as_deref()) {
        (Some(url), _) => {
            let (flags, server) = gateway::told(flags, url, console)?;
            (flags, Some(server))
        }
        (None, Some(server)) => (flags.clone(), Some(server_of(server, &flags.cluster, console)?)),
        (None, None) => (flags.clone(), None),
    };
    let flags = &flags;
    let settings = Settings::new(&flags.connect).map_err(|error| unsaid(error, flags))?;
    let user = user_stanza(&flags.given);
    // What would fail afterwards is found before a person is asked to log in.
    let prepared = server.as_ref().map(|server| prepare(flags, server, user.clone(), console));
    let prepared = prepared.transpose()?;
    for flag in &flags.given.left_out {
        console.say(format_args!(
            "{flag} is not written into the kubeconfig; give it in its environment variable."
        ));
    }

    let session = Session::new(&settings, console);
    let token = session.token(Effort::Login { interactive: has_terminal() });
    let record = token.map_err(|error| again(&error))?;
    let claims = record.claims().ok_or_else(|| {
        CommandError::Other(
            "the token's claims cannot be read; run the command again after kubectl oidc clean"
                .to_owned(),
        )
    })?;
    let mut rows = Rows::default();
    rows.add("Claims of the token", "");
    for (name, value) in claims.all() {
        rows.add(&format!("  {name}"), claim(name, value, Utc::now()));
    }
    let (Some(Server { cluster, .. }), Some((files, change))) = (server, prepared) else {
        console.say_all(rows.lines());
        console.say("Without --server nothing is written. The user for your kubeconfig:");
        return print(&yaml(&json!({ "users": [{ "name": "oidc", "user": user }] })));
    };
    match cluster::who_am_i(&cluster, &record.token, console) {
        Ok(user) => {
            rows.add("The cluster sees", &cluster.server);
            add_user(&mut rows, &user);
            console.say_all(rows.lines());
        }
        Err(error) => {
            console.say_all(rows.lines());
            return Err(CommandError::Other(advice(&error, Some(&claims))));
        }
    }
    if flags.cluster.dry_run {
        return print(preview(&files, &change)?.trim_end());
    }
    for written in apply(&files, &change)? {
        let lost = if written.comments_lost { " (its comments are lost)" } else { "" };
        console.say(format_args!("Written: {}{lost}", written.path.display()));
    }
    if let Some(Verdict { allowed: false, reason, cure }) = kuberc::check() {
        console.say(format_args!("kubectl's own policy forbids this login: {reason}; {cure}"));
    }
    console
        .say(format_args!("Try: kubectl --context {} auth whoami", shell_word(&change.context.0)));
    Ok(())
}

/// Settings that are missing are what a gateway may say.
fn unsaid(error: SettingsError, flags: &Setup) -> CommandError {
    match error {
        SettingsError::Missing(..) if flags.gateway.is_none() => {
            let server = flags.cluster.server.as_deref().unwrap_or("https://HOST");
            CommandError::Other(format!(
                "{error}; a gateway that says itself where to log in needs its URL alone: kubectl oidc setup {}",
                shell_word(server)
            ))
        }
        error => error.into(),
    }
}

/// No login failed here that `kubectl oidc login` would find: no context has it yet.
fn again(error: &SessionError) -> CommandError {
    let known = "log in again with: kubectl oidc login";
    CommandError::Other(error.to_string().replace(known, "run the command again"))
}

/// The files and what goes into them, if the files can be read and the server answers.
fn prepare(
    flags: &Setup,
    server: &Server,
    user: Value,
    console: Console,
) -> Result<(Files, Change), CommandError> {
    let files = Files::locate(flags.kubeconfig.kubeconfig.as_deref())?;
    let change = change(flags, server, user)?;
    check_names(&files, flags, &change, server)?;
    match cluster::reach(&server.cluster, console) {
        Ok(()) => Ok((files, change)),
        Err(error) => Err(CommandError::Other(advice(&error, None))),
    }
}

/// The server, with the authority that signs it.
fn server_of(server: &str, flags: &ClusterFlags, console: Console) -> Result<Server, CommandError> {
    let url = Url::parse(server)
        .ok()
        .filter(Url::has_host)
        .filter(|url| url.scheme() == "https" || url.scheme() == "http" && is_loopback(url))
        .ok_or_else(|| {
            CommandError::Other(format!(
                "--server={server:?} is not an https URL; write https://HOST:PORT"
            ))
        })?;
    let server = url.as_str().trim_end_matches('/').to_owned();
    let trust = gateway::trust_of(&server, flags, console)?;
    let cluster = Cluster { server, trust, tls_server_name: None, proxy_url: None };
    Ok(Server { cluster, told: None })
}

/// What a refusal of the cluster is likely to mean, given the claims, and what to do about it where no kubeconfig is written yet.
fn advice(error: &ClusterError, claims: Option<&Claims>) -> String {
    match error {
        ClusterError::Unauthorized(server) => {
            let verified = if claims.is_some_and(Claims::email_unverified) {
                "; the issuer has not verified the e-mail address, which alone is a reason if the user name is taken from it"
            } else {
                ""
            };
            format!(
                "the cluster {server} refuses the token (401): its issuer, client ID and claims, shown above, must be those of its authentication configuration; its administrator must correct that, or give another --oidc-client-id{verified}"
            )
        }
        ClusterError::Http(error) => {
            let out = error.way_out("--cluster-certificate-authority or --ca-fingerprint");
            format!("the cluster cannot be asked: {error}{out}")
        }
        _ => error.to_string(),
    }
}

fn change(flags: &Setup, server: &Server, user: Value) -> Result<Change, CommandError> {
    let Server { cluster, told } = server;
    let host = Url::parse(&cluster.server)
        .ok()
        .and_then(|url| url.host_str().map(str::to_owned))
        .unwrap_or_default();
    let name = flags.cluster.cluster.clone().or_else(|| told.clone()).unwrap_or(host);
    let user_name = flags.cluster.user.clone().unwrap_or_else(|| format!("oidc-{name}"));
    let context_name = flags.kubeconfig.context.clone().unwrap_or_else(|| name.clone());
    let mut cluster_content = Map::new();
    cluster_content.insert("server".to_owned(), json!(cluster.server));
    if let Some(data) = cluster.trust.data.first() {
        cluster_content.insert("certificate-authority-data".to_owned(), json!(data));
    } else if let Some(path) = cluster.trust.files.first() {
        cluster_content.insert("certificate-authority-data".to_owned(), json!(encoded(path)?));
    }
    if cluster.trust.insecure {
        cluster_content.insert("insecure-skip-tls-verify".to_owned(), json!(true));
    }
    let mut context_content = Map::new();
    context_content.insert("cluster".to_owned(), json!(name));
    context_content.insert("user".to_owned(), json!(user_name));
    if let Some(namespace) = &flags.cluster.namespace {
        context_content.insert("namespace".to_owned(), json!(namespace));
    }
    Ok(Change {
        cluster: (name, Value::Object(cluster_content)),
        user: (user_name, user),
        context: (context_name, Value::Object(context_content)),
        make_current: !flags.cluster.keep_current_context,
    })
}

fn encoded(path: &Path) -> Result<String, CommandError> {
    let pem = fs::read(path).map_err(|error| {
        CommandError::Other(format!(
            "{} cannot be read: {}; --cluster-certificate-authority names it",
            path.display(),
            plain(&error)
        ))
    })?;
    Ok(STANDARD.encode(pem))
}

/// A cluster whose name nobody chose must not take another's place, and what a gateway calls itself no context and no user.
fn check_names(
    files: &Files,
    flags: &Setup,
    change: &Change,
    Server { cluster, told }: &Server,
) -> Result<(), CommandError> {
    let config = Kubeconfig::load(&Files { explicit: false, ..files.clone() })?;
    let (name, _) = &change.cluster;
    match config.server(name).map(str::to_owned) {
        Some(found)
            if found.trim_end_matches('/') != cluster.server && flags.cluster.cluster.is_none() =>
        {
            Err(KubeconfigError::OtherCluster { name: name.clone(), found }.into())
        }
        found if told.is_some() && flags.cluster.cluster.is_none() => {
            let known = found.is_some();
            let taken = config.taken(name, known, &change.context.0, &change.user.0);
            taken.map_or(Ok(()), |(kind, name)| {
                Err(KubeconfigError::Taken { kind, name: name.to_owned() }.into())
            })
        }
        _ => Ok(()),
    }
}

/// The user: an exec section with the flags that were given.
fn user_stanza(given: &Given) -> Value {
    let mut arguments = vec!["get-token".to_owned()];
    arguments.extend(given.arguments.iter().cloned());
    exec_section(&arguments, &given.env)
}

/// An exec section that calls this program.
pub(super) fn exec_section(arguments: &[String], env: &[(String, String)]) -> Value {
    let mut exec = json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": own_command(),
        "args": arguments,
        "interactiveMode": "IfAvailable",
        "provideClusterInfo": false,
        "installHint": "kubectl-oidc logs in to this cluster. Put that program into a folder of your PATH; the cluster's administrators know where to get it",
    });
    if !env.is_empty() {
        let pairs = env.iter().map(|(name, value)| json!({ "name": name, "value": value }));
        exec["env"] = pairs.collect();
    }
    json!({ "exec": exec })
}

/// How kubectl finds this program: by its name if it is on the path, else by where it stands.
pub(super) fn own_command() -> String {
    let name = if cfg!(windows) { "kubectl-oidc.exe" } else { "kubectl-oidc" };
    let path = env::var_os("PATH").unwrap_or_default();
    let own = env::current_exe().ok();
    match own {
        Some(own) if !env::split_paths(&path).any(|folder| folder.join(name).is_file()) => {
            own.display().to_string()
        }
        _ => "kubectl-oidc".to_owned(),
    }
}

fn yaml(value: &Value) -> String {
    serde_saphyr::to_string(value).unwrap_or_default().trim_end().to_owned()
}

/// A word as a shell reads it.
pub(super) fn shell_word(text: &str) -> String {
    shlex::try_quote(text).map_or_else(|_| text.to_owned(), std::borrow::Cow::into_owned)
}
