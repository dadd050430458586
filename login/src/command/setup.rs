//! `setup`: from an issuer and a server to a kubeconfig that works, with one login in between.

use std::env;
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::Utc;
use serde_json::{Map, Value, json};
use url::Url;

use super::describe::{Rows, claim};
use super::whoami::add_user;
use super::{CommandError, has_terminal, note_ignored, print};
use crate::claims::Claims;
use crate::cli::{Cli, ClusterFlags, Setup};
use crate::cluster::{self, ClusterError};
use crate::console::Console;
use crate::kubeconfig::{Change, Cluster, Files, Kubeconfig, KubeconfigError, apply, preview};
use crate::session::{Effort, Session};
use crate::settings::{Settings, Trust, is_loopback, path_of};

/// Logs in and writes the kubeconfig.
pub fn run(flags: &Setup) -> Result<(), CommandError> {
    let console = Console::new(flags.connect.verbosity.level);
    note_ignored(console, &flags.connect.ignored);
    let settings = Settings::new(&flags.connect)?;
    let cluster = flags.cluster.server.as_deref().map(|server| server_of(server, &flags.cluster));
    let cluster = cluster.transpose()?;

    let session = Session::new(&settings, console);
    let record = session.token(Effort::Login { interactive: has_terminal() })?;
    let claims = record
        .claims()
        .ok_or_else(|| CommandError::Other("the token's claims cannot be read".to_owned()))?;
    let mut rows = Rows::default();
    rows.add("Claims of the token", "");
    for (name, value) in claims.all() {
        rows.add(&format!("  {name}"), claim(name, value, Utc::now()));
    }
    let user = user_stanza(flags)?;
    let Some(cluster) = cluster else {
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
            return Err(CommandError::Other(advice(&error, &claims)));
        }
    }
    let change = change(flags, &cluster, user)?;
    let files = Files::locate(flags.kubeconfig.kubeconfig.as_deref())?;
    check_names(&files, flags, &change, &cluster)?;
    if flags.cluster.dry_run {
        return print(preview(&files, &change)?.trim_end());
    }
    for written in apply(&files, &change)? {
        let lost = if written.comments_lost { " (its comments are lost)" } else { "" };
        console.say(format_args!("Written: {}{lost}", written.path.display()));
    }
    console
        .say(format_args!("Try: kubectl --context {} auth whoami", shell_word(&change.context.0)));
    Ok(())
}

/// The server, with the authority that signs it.
fn server_of(server: &str, flags: &ClusterFlags) -> Result<Cluster, CommandError> {
    let url = Url::parse(server)
        .ok()
        .filter(Url::has_host)
        .filter(|url| url.scheme() == "https" || url.scheme() == "http" && is_loopback(url))
        .ok_or_else(|| CommandError::Other(format!("--server={server:?} is not an https URL")))?;
    let files = flags.cluster_certificate_authority.as_deref().and_then(path_of);
    Ok(Cluster {
        server: url.as_str().trim_end_matches('/').to_owned(),
        trust: Trust {
            files: files.into_iter().collect(),
            data: Vec::new(),
            insecure: flags.cluster_insecure_skip_tls_verify,
        },
        tls_server_name: None,
        proxy_url: None,
    })
}

/// What a refusal of the cluster is likely to mean, given the claims.
fn advice(error: &ClusterError, claims: &Claims) -> String {
    match error {
        ClusterError::Unauthorized(_) if claims.email_unverified() => format!(
            "{error}; the issuer has not verified the e-mail address, which alone is a reason if the user name is taken from it"
        ),
        ClusterError::Http(crate::http::HttpError::Untrusted { .. }) => {
            format!("{error}; give --cluster-certificate-authority")
        }
        _ => error.to_string(),
    }
}

fn change(flags: &Setup, cluster: &Cluster, user: Value) -> Result<Change, CommandError> {
    let host = Url::parse(&cluster.server)
        .ok()
        .and_then(|url| url.host_str().map(str::to_owned))
        .unwrap_or_default();
    let name = flags.cluster.cluster.clone().unwrap_or(host);
    let user_name = flags.cluster.user.clone().unwrap_or_else(|| format!("oidc-{name}"));
    let context_name = flags.kubeconfig.context.clone().unwrap_or_else(|| name.clone());
    let mut cluster_content = Map::new();
    cluster_content.insert("server".to_owned(), json!(cluster.server));
    if let Some(path) = cluster.trust.files.first() {
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
        CommandError::Other(format!("{} cannot be read: {error}", path.display()))
    })?;
    Ok(STANDARD.encode(pem))
}

/// A cluster whose name nobody chose must not take another's place.
fn check_names(
    files: &Files,
    flags: &Setup,
    change: &Change,
    cluster: &Cluster,
) -> Result<(), CommandError> {
    let config = Kubeconfig::load(&Files { explicit: false, ..files.clone() })?;
    let (name, _) = &change.cluster;
    let known = config.item("clusters", "cluster", name);
    let found = known.and_then(|(_, known)| known.get("server")?.as_str().map(str::to_owned));
    match found {
        Some(found)
            if found.trim_end_matches('/') != cluster.server && flags.cluster.cluster.is_none() =>
        {
            Err(KubeconfigError::OtherCluster { name: name.clone(), found }.into())
        }
        _ => Ok(()),
    }
}

/// The user: an exec section with the flags that were given, secrets in its environment where other users of the machine do
/// not see them among the processes.
fn user_stanza(flags: &Setup) -> Result<Value, CommandError> {
    let connect = &flags.connect;
    let mut args = vec!["get-token".to_owned()];
    let mut add = |name: &str, value: Option<&String>| {
        args.extend(value.map(|value| format!("--{name}={value}")));
    };
    let absolute = |path: &String| {
        path_of(path)
            .and_then(|path| std::path::absolute(path).ok())
            .map(|path| path.display().to_string())
    };
    let (issuer, login, store) = (&connect.issuer, &connect.login, &connect.store);
    add("oidc-issuer-url", issuer.oidc_issuer_url.as_ref());
    add("oidc-client-id", issuer.oidc_client_id.as_ref());
    let scopes = issuer.oidc_extra_scope.join(" ");
    add("oidc-extra-scope", (!scopes.is_empty()).then_some(&scopes));
    for (name, value) in &issuer.oidc_auth_request_extra_params {
        add("oidc-auth-request-extra-params", Some(&format!("{name}={value}")));
    }
    for path in &connect.trust.certificate_authority {
        add("certificate-authority", absolute(path).as_ref());
    }
    for data in &connect.trust.certificate_authority_data {
        add("certificate-authority-data", Some(data));
    }
    let defaults = Defaults::new()?;
    let differing =
        |name: &str, value: String| (defaults.of(name) != Some(value.as_str())).then_some(value);
    add(
        "oidc-pkce-method",
        differing("oidc-pkce-method", name_of(&issuer.oidc_pkce_method)).as_ref(),
    );
    add("grant-type", differing("grant-type", name_of(&login.grant_type)).as_ref());
    add("listen-address", differing("listen-address", login.listen_address.join(",")).as_ref());
    add("oidc-redirect-url", login.oidc_redirect_url.as_ref());
    add("oidc-redirect-url-hostname", login.oidc_redirect_url_hostname.as_ref());
    add("browser-command", login.browser_command.as_ref());
    add("username", login.username.as_ref());
    add("account", login.account.as_ref());
    add("template-dir", login.template_dir.as_ref().and_then(absolute).as_ref());
    add("token-file", login.token_file.as_ref().and_then(absolute).as_ref());
    add("token-env", login.token_env.as_ref());
    add("token-store", differing("token-store", name_of(&store.token_store)).as_ref());
    add("token-store-dir", store.token_store_dir.as_ref().and_then(absolute).as_ref());
    add("token-store-key-file", store.token_store_key_file.as_ref().and_then(absolute).as_ref());
    for (name, given) in [
        ("oidc-use-access-token", issuer.oidc_use_access_token),
        ("insecure-skip-tls-verify", connect.trust.insecure_skip_tls_verify),
        ("skip-open-browser", login.skip_open_browser),
    ] {
        if given {
            args.push(format!("--{name}"));
        }
    }
    let mut exec = json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": own_command(),
        "args": args,
        "interactiveMode": "IfAvailable",
        "provideClusterInfo": false,
        "installHint": "kubectl-oidc logs in to this cluster; install it with: kubectl krew install oidc",
    });
    if let Some(secret) = issuer.oidc_client_secret.as_ref().filter(|secret| !secret.is_empty()) {
        exec["env"] = json!([{ "name": "KUBECTL_OIDC_CLIENT_SECRET", "value": secret }]);
    }
    Ok(json!({ "exec": exec }))
}

fn name_of(value: &impl clap::ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// The default values of `get-token`'s flags: what equals them is not written.
struct Defaults(clap::Command);

impl Defaults {
    fn new() -> Result<Self, CommandError> {
        let definition = Cli::definition();
        let command = definition.find_subcommand("get-token").cloned();
        command.map(Self).ok_or_else(|| CommandError::Other("get-token is not defined".to_owned()))
    }

    fn of(&self, name: &str) -> Option<&str> {
        let flag = self.0.get_arguments().find(|flag| flag.get_long() == Some(name))?;
        match flag.get_default_values() {
            [one] => one.to_str(),
            // The one flag with two: their joined form.
            [_, _] => Some("127.0.0.1:8000,127.0.0.1:18000"),
            _ => None,
        }
    }
}

/// How kubectl finds this program: by its name if it is on the path, else by where it stands.
fn own_command() -> String {
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

fn shell_word(text: &str) -> String {
    shlex::try_quote(text).map_or_else(|_| text.to_owned(), std::borrow::Cow::into_owned)
}
