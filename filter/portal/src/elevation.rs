//! Elevation: the page, and what it and the plugin ask for. The portal knows who asks; the program that holds the grants knows the rules,
//! and checks them again with that. The portal itself writes nothing.

use serde_json::{Value, json};

use super::{
    Identified, Portal, Request, Step, audit,
    caller::{Caller, Refusal, Source},
    page,
    response::Response,
    settings::Settings,
};

/// The page.
pub(super) const PAGE: &[u8] = b"/elevation";
/// Where grants are listed and asked for; behind a slash, one of them and what is to become of it.
pub(super) const GRANTS: &[u8] = b"/elevation/grants";

/// Bytes of an answer of the program's that are read.
pub const MOST_ANSWER: usize = 1 << 20;
/// Bytes of what is asked of it: a wish with its groups and its reason.
const MOST_WISH: usize = 48 << 10;

/// What the program is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// Groups that are lent.
    Grants,
    /// A session that has ended.
    Session,
}

impl Topic {
    /// The Envoy cluster behind which the program answers.
    #[must_use]
    pub fn cluster(self, settings: &Settings) -> &str {
        let cluster = match self {
            Self::Grants => &settings.elevation,
            Self::Session => &settings.sessions,
        };
        cluster.as_deref().unwrap_or_default()
    }

    /// Why there is no answer.
    fn fault(self) -> &'static str {
        match self {
            Self::Grants => "grants cannot be reached at the moment",
            Self::Session => "who writes down what has ended cannot be reached at the moment",
        }
    }
}

/// What the program is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What it is about.
    pub topic: Topic,
    /// Its path.
    pub path: String,
    /// Its body, JSON.
    pub body: String,
}

/// What is to be done with a grant.
const ACTIONS: [&str; 3] = ["approve", "deny", "end"];

/// What a request asks for.
enum Asked<'a> {
    Page,
    List,
    Wish,
    Step(&'a str),
    /// Something else of this method.
    Nothing,
}

impl Portal {
    /// Whether a path is of this part, where there are grants at all.
    pub(super) fn is_elevation(&self, path: &[u8]) -> bool {
        let behind = path.strip_prefix(GRANTS);
        self.settings.elevation.is_some()
            && (path == PAGE
                || behind.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/")))
    }

    pub(super) fn elevation(
        &self,
        request: &Request,
        path: &[u8],
        body: Option<&[u8]>,
        identified: Option<&Identified>,
    ) -> Step {
        let refuse = |status, why: &str| {
            Step::Respond(Response::error(status, why).audited(audit::refused(why)))
        };
        let asked = asked(&request.method, path);
        let from_here = match asked {
            Asked::Page => return Step::Respond(page::elevation()),
            Asked::Nothing => return Step::Respond(Response::error(404, "404 page not found")),
            Asked::List => request.check_site(&self.settings),
            Asked::Wish | Asked::Step(_) => request.check_post(&self.settings),
        };
        if let Err(error) = from_here {
            return refuse(403, &error.to_string());
        }
        let wish = match (&asked, body) {
            // What is asked before the body has ended would be asked again at its end.
            (Asked::Wish | Asked::Step(_), None) => return Step::Body,
            (Asked::Wish, Some(body)) if body.len() > MOST_WISH => {
                return refuse(413, "request body is too large");
            }
            (Asked::Wish, Some(body)) => match serde_json::from_slice(body) {
                Ok(wish @ Value::Object(_)) => wish,
                Ok(_) => return refuse(400, "cannot parse JSON request body: not an object"),
                Err(error) => {
                    return refuse(400, &format!("cannot parse JSON request body: {error}"));
                }
            },
            _ => Value::Null,
        };
        let caller = match self.caller(request, identified) {
            Ok(caller) => caller,
            Err(unidentified) => return unidentified.json(),
        };
        match question(&caller, &asked, &wish) {
            Ok(question) => Step::Elevate(question),
            Err(Refusal { status, why }) => refuse(status, &why),
        }
    }

    /// The response to what the program answered: its status, and its body.
    #[must_use]
    pub fn elevated(topic: Topic, status: u16, body: &[u8]) -> Response {
        let answer: Option<Value> = serde_json::from_slice(body).ok();
        match (status, answer) {
            (200..=499, Some(Value::Object(mut answer))) => {
                let event = answer.remove("audit");
                let response = Response::json(status, &Value::Object(answer.clone()));
                match (event, answer.get("error").and_then(Value::as_str)) {
                    (Some(event), _) => response.audited(event.to_string()),
                    (None, Some(why)) => response.audited(audit::refused(why)),
                    (None, None) => response,
                }
            }
            _ => Response::error(503, topic.fault())
                .with("retry-after", "5")
                .audited(audit::refused(topic.fault())),
        }
    }
}

fn asked<'a>(method: &[u8], path: &'a [u8]) -> Asked<'a> {
    if path == PAGE {
        return if matches!(method, b"GET" | b"HEAD") { Asked::Page } else { Asked::Nothing };
    }
    match (method, path.strip_prefix(GRANTS)) {
        (b"GET", Some(b"")) => Asked::List,
        (b"POST", Some(b"")) => Asked::Wish,
        (b"POST", Some(rest)) => step(rest).map_or(Asked::Nothing, Asked::Step),
        _ => Asked::Nothing,
    }
}

/// `/ID/ACTION`, whole.
fn step(rest: &[u8]) -> Option<&str> {
    let rest = std::str::from_utf8(rest).ok()?;
    let (id, action) = rest.strip_prefix('/')?.split_once('/')?;
    let is_id = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (!id.is_empty() && id.bytes().all(is_id) && ACTIONS.contains(&action)).then_some(rest)
}

/// What the program is asked, in the name of who asks.
fn question(caller: &Caller, asked: &Asked<'_>, wish: &Value) -> Result<Question, Refusal> {
    let origin = caller.origin.as_ref().filter(|origin| !origin.subject.is_empty());
    // A header's user is nobody of whom an issuer and a subject are known, by which a person is told from a namesake.
    let Some(origin) = origin.filter(|_| caller.source != Source::Header) else {
        let why =
            "elevation needs a login at an issuer: a token of an issuer whose groups may be lent";
        return Err(Refusal { status: 403, why: why.to_owned() });
    };
    let path = match asked {
        Asked::Step(step) => format!("/grants{step}"),
        Asked::Wish => "/grants/ask".to_owned(),
        _ => "/grants/list".to_owned(),
    };
    let body = json!({
        "caller": {
            "user": caller.identity.username, "issuer": origin.issuer, "subject": origin.subject,
            "groups": caller.identity.groups, "meets": origin.meets,
        },
        "wish": wish,
    });
    Ok(Question { topic: Topic::Grants, path, body: body.to_string() })
}
