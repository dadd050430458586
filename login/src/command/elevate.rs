//! `elevate`: groups for a while. It asks the portal what its page asks, with the login's token: nothing is decided here.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};
use ureq::http::{Request, header};

use super::{describe::when, error::CommandError, standard::print, target::Target};
use crate::{
    cli::{Elevate, OutputFormat, Step},
    console::{Console, json as printed_as_json, printable},
    http::{Http, HttpError, not_json},
    path::path_of,
    session::{Effort, Session},
    settings::Trust,
};

/// Asks for groups, or does something with a grant.
pub fn run(flags: &Elevate) -> Result<(), CommandError> {
    let console = flags.connect.messages.console();
    let question = Question::of(flags)?;
    let portal = portal_of(flags)?;
    let target = Target::find(&flags.connect, &flags.kubeconfig)?;
    let trust = match flags.portal_certificate_authority.as_deref().and_then(path_of) {
        Some(file) => Trust { files: vec![file], ..Trust::default() },
        None => target.cluster.as_ref().map(|it| it.trust.clone()).unwrap_or_default(),
    };
    // Nobody types a token's certificate away by this.
    let trust = Trust { insecure: false, ..trust };
    let session = Session::new(&target.settings, console);
    let record = session.token(Effort::Login { interactive: super::standard::has_terminal() })?;
    let answer = question.ask(&portal, &record.token, &trust, console)?;
    let text = match flags.output {
        OutputFormat::Json => printed_as_json(&answer),
        OutputFormat::Text => question.told(answer)?,
    };
    print(&text)
}

/// The portal's address, without a slash at its end. A token goes there.
fn portal_of(flags: &Elevate) -> Result<String, CommandError> {
    let portal = flags.portal.as_deref().map(str::trim).filter(|url| !url.is_empty());
    let Some(portal) = portal else {
        let why =
            "the portal's address is needed: give --portal https://…, or set KUBECTL_OIDC_PORTAL";
        return Err(CommandError::Other(why.to_owned()));
    };
    if !portal.starts_with("https://") {
        let why = format!("the portal {portal} must be asked over https: your token goes there");
        return Err(CommandError::Other(why));
    }
    Ok(portal.trim_end_matches('/').to_owned())
}

/// What the portal is asked.
#[derive(Debug, PartialEq, Eq)]
enum Question {
    List,
    Ask(Value),
    Step(Step, String),
}

impl Question {
    fn of(flags: &Elevate) -> Result<Self, CommandError> {
        let wrong = |why: &str| Err(CommandError::Other(why.to_owned()));
        let id = flags.id.clone().unwrap_or_default();
        match (flags.step, id.as_str()) {
            (None, "") if flags.group.is_empty() => {
                wrong("which group? Give --group; kubectl oidc elevate list shows which there are")
            }
            (None, "") => Ok(Self::Ask(json!({
                "groups": flags.group, "seconds": flags.length, "reason": flags.reason,
            }))),
            (Some(Step::List), "") => Ok(Self::List),
            (None | Some(Step::List), _) => wrong("no ID is needed here"),
            (Some(_), "") => wrong("which grant? kubectl oidc elevate list shows their IDs"),
            (Some(step), id) => {
                let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
                if !id.bytes().all(fits) {
                    return wrong("an ID has letters, digits and '-' alone");
                }
                Ok(Self::Step(step, id.to_owned()))
            }
        }
    }

    fn ask(
        &self,
        portal: &str,
        token: &str,
        trust: &Trust,
        console: Console,
    ) -> Result<Value, CommandError> {
        let url = match self {
            Self::Step(step, id) => {
                let word = match step {
                    Step::Approve => "approve",
                    Step::Deny => "deny",
                    Step::End | Step::List => "end",
                };
                format!("{portal}/elevation/grants/{id}/{word}")
            }
            Self::List | Self::Ask(_) => format!("{portal}/elevation/grants"),
        };
        let http = Http::new(trust, console).map_err(|error| failed(&error))?;
        let request = match self {
            Self::List => Request::get(&url),
            Self::Ask(_) | Self::Step(..) => {
                Request::post(&url).header(header::CONTENT_TYPE, "application/json")
            }
        };
        let body = match self {
            Self::List => Vec::new(),
            Self::Ask(wish) => wish.to_string().into_bytes(),
            Self::Step(..) => b"{}".to_vec(),
        };
        let request = request
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::ACCEPT, "application/json")
            .body(body)
            .map_err(|_| {
                CommandError::Other(format!("the portal's address {portal} is not valid"))
            })?;
        let response = http.call(request).map_err(|error| failed(&error))?;
        let (status, body) = (response.status().as_u16(), response.body());
        let answer: Option<Value> = serde_json::from_slice(body).ok();
        match (status, answer) {
            (200, Some(answer)) => Ok(answer),
            (200, None) => {
                let error = HttpError::Body { url, reason: not_json(body).to_owned() };
                Err(failed(&error))
            }
            (401, _) => Err(CommandError::Other(
                "the portal does not take the token (401); kubectl oidc whoami shows it".to_owned(),
            )),
            (404, _) if !matches!(self, Self::Step(..)) => Err(CommandError::Other(format!(
                "{portal} lends no groups: is it the portal, and has the gateway elevation.rules?"
            ))),
            (status, answer) => {
                let why = answer.as_ref().and_then(|answer| answer["error"].as_str());
                let why = why.unwrap_or("it does not say why");
                let why = printable(why);
                Err(CommandError::Other(format!("the portal refuses it ({status}): {why}")))
            }
        }
    }

    /// The answer in words.
    fn told(&self, answer: Value) -> Result<String, CommandError> {
        let odd = |_| CommandError::Other("the portal's answer is not understood".to_owned());
        if let Self::List = self {
            let view: View = serde_json::from_value(answer).map_err(odd)?;
            return Ok(printable_lines(&view.lines()));
        }
        let Answer { grant } = serde_json::from_value(answer).map_err(odd)?;
        let Grant { id, groups, user, until, .. } = &grant;
        let groups = groups.join(", ");
        let until = moment(until);
        Ok(printable(&match (self, grant.state.as_str()) {
            (Self::Ask(_), "Approved") => {
                format!("{groups}: yours until {until}. The grant is {id}.")
            }
            (Self::Ask(_), _) => format!(
                "{groups}: asked for. Somebody else has to agree: kubectl oidc elevate approve {id}"
            ),
            (Self::Step(Step::Approve, _), _) => format!("{user} has {groups} until {until}."),
            (Self::Step(Step::Deny, _), _) => format!("{user} does not get {groups}."),
            _ => format!("{user} has {groups} no longer."),
        }))
    }
}

#[derive(Deserialize)]
struct Answer {
    grant: Grant,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Grant {
    id: String,
    state: String,
    user: String,
    issuer: String,
    groups: Vec<String>,
    #[serde(default)]
    reason: String,
    until: String,
}

#[derive(Deserialize)]
struct View {
    offers: Vec<Offer>,
    own: Vec<Grant>,
    requests: Vec<Grant>,
    open: Vec<Grant>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Offer {
    groups: Vec<String>,
    maximum_seconds: u64,
    requires_approval: bool,
}

impl View {
    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut section = |title: &str, items: Vec<String>| {
            if !items.is_empty() {
                lines.push(title.to_owned());
                lines.extend(items);
            }
        };
        let grants = |grants: &[Grant]| grants.iter().map(Grant::line).collect();
        section("You may ask for", self.offers.iter().map(Offer::line).collect());
        section("You have, or have asked for", grants(&self.own));
        section("Others wait for you to agree", grants(&self.requests));
        section("Others have", grants(&self.open));
        if lines.is_empty() {
            lines.push("There is nothing that you may ask for or agree to.".to_owned());
        }
        lines
    }
}

impl Grant {
    fn line(&self) -> String {
        let Self { id, state, user, issuer, groups, reason, until } = self;
        // Two issuers may have a user of one name.
        let user = format!("{user} of {issuer}");
        let groups = groups.join(", ");
        let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        match state.as_str() {
            "Requested" => format!("  {id}  {groups}, for {user}, not agreed to yet{reason}"),
            _ => format!("  {id}  {groups}, for {user}, until {}{reason}", moment(until)),
        }
    }
}

impl Offer {
    fn line(&self) -> String {
        let Self { groups, maximum_seconds, requires_approval } = self;
        let who = if *requires_approval { ", if somebody agrees" } else { "" };
        let (hours, minutes) = (maximum_seconds / 3600, maximum_seconds % 3600 / 60);
        format!("  {}, for up to {hours}h{minutes:02}m{who}", groups.join(" or "))
    }
}

/// A time of the portal's for a person.
fn moment(text: &str) -> String {
    match DateTime::parse_from_rfc3339(text) {
        Ok(time) => when(time.with_timezone(&Utc), Utc::now()),
        Err(_) => text.to_owned(),
    }
}

fn printable_lines(lines: &[String]) -> String {
    lines.iter().map(|line| printable(line)).collect::<Vec<_>>().join("\n")
}

fn failed(error: &dyn std::fmt::Display) -> CommandError {
    CommandError::Other(format!("the portal cannot be asked: {error}"))
}
