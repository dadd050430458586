//! `whoami`: the claims of the stored login, and what the cluster makes of them.

use chrono::{SecondsFormat, Utc};
use serde_json::json;

use super::{
    describe::{Rows, claim, value, when},
    error::CommandError,
    standard::print,
    target::Target,
};
use crate::{
    claims::Claims,
    cli::{OutputFormat, Whoami},
    cluster::{self, ClusterError, UserInfo},
    console::json as printed_as_json,
    session::{Effort, Session},
    settings::Settings,
    store::Record,
};

/// Shows who is logged in. A token that ran out is refreshed; nobody is asked to log in.
pub fn run(flags: &Whoami) -> Result<(), CommandError> {
    let console = flags.connect.messages.console();
    let target = Target::find(&flags.connect, &flags.kubeconfig)?;
    let session = Session::new(&target.settings, console);
    let record = session.token(Effort::Silent)?;
    let store = session.place();
    let asked = match &target.cluster {
        Some(cluster) if !flags.offline => {
            Some((cluster.server.clone(), cluster::who_am_i(cluster, &record.token, console)))
        }
        _ => None,
    };
    let login = Login {
        settings: &target.settings,
        record: &record,
        store: &store,
        asked: asked.as_ref(),
        show_token: flags.show_token,
    };
    let text = match flags.output {
        OutputFormat::Text => text(&login)?,
        OutputFormat::Json => document(&login)?,
    };
    print(&text)?;
    match asked {
        // The answer is printed; that it was no good is the exit code's business.
        Some((_, Err(error))) => Err(error.into()),
        _ => Ok(()),
    }
}

type Asked = (String, Result<UserInfo, ClusterError>);

/// What is shown.
struct Login<'a> {
    settings: &'a Settings,
    record: &'a Record,
    /// Where it is kept.
    store: &'a str,
    /// The cluster, if it was asked.
    asked: Option<&'a Asked>,
    show_token: bool,
}

fn claims_of(record: &Record) -> Result<Claims, CommandError> {
    record.claims().ok_or_else(|| {
        CommandError::Other(
            "the token's claims cannot be read; log in again with: kubectl oidc login --force"
                .to_owned(),
        )
    })
}

fn text(login: &Login<'_>) -> Result<String, CommandError> {
    let Login { settings, record, store, asked, show_token } = *login;
    let (claims, now) = (claims_of(record)?, Utc::now());
    let mut rows = Rows::default();
    rows.add("Issuer", claims.text("iss").unwrap_or(&settings.client.issuer));
    if !settings.client.id.is_empty() {
        rows.add("Client", &settings.client.id);
    }
    if let Some(name) = settings.store.account.name() {
        rows.add("Account", name);
    }
    rows.add("Expires", when(record.expiry().unwrap_or(claims.expiry()), now));
    rows.add("Refresh", if record.refresh_token.is_some() { "silently" } else { "by a new login" });
    rows.add("Store", store);
    for (name, found) in claims.all() {
        rows.add(&format!("  {name}"), claim(name, found, now));
    }
    if claims.email_unverified() {
        rows.add(
            "Warning",
            "the issuer has not verified the e-mail address: a cluster that takes the user name from it refuses this token",
        );
    }
    if let Some((server, answer)) = asked {
        rows.add("Cluster", server);
        match answer {
            Ok(user) => add_user(&mut rows, user),
            Err(error) => rows.add("  error", error.to_string()),
        }
    }
    if show_token {
        rows.add("Token", &record.token);
    }
    Ok(rows.lines().join("\n"))
}

/// What the cluster says.
pub fn add_user(rows: &mut Rows, user: &UserInfo) {
    rows.add("  user", &user.username);
    if let Some(uid) = &user.uid {
        rows.add("  uid", uid);
    }
    rows.add("  groups", user.groups.join(", "));
    for (name, values) in &user.extra {
        rows.add(&format!("  {name}"), value(&json!(values)));
    }
}

fn document(login: &Login<'_>) -> Result<String, CommandError> {
    let Login { settings, record, store, asked, show_token } = *login;
    let claims = claims_of(record)?;
    let mut document = json!({
        "issuer": claims.text("iss").unwrap_or(&settings.client.issuer),
        "clientId": settings.client.id,
        "expirationTimestamp": claims.expiry().to_rfc3339_opts(SecondsFormat::Secs, true),
        "refreshable": record.refresh_token.is_some(),
        "store": store,
        "claims": claims.all(),
    });
    if let Some((server, answer)) = asked {
        document["cluster"] = match answer {
            Ok(user) => json!({ "server": server, "userInfo": user }),
            Err(error) => json!({ "server": server, "error": error.to_string() }),
        };
    }
    if show_token {
        document["token"] = json!(record.token);
    }
    Ok(printed_as_json(&document))
}
