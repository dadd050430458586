//! The office where grants are asked for, agreed to and ended, behind the Unix socket that the filter's documents come from.
//!
//! Who asks is said by the portal, which has it from the filter; nobody but this user opens the socket. The rules are checked here with that,
//! the object is written, and an event says so. The filter checks the rules again with what it reads.

mod rate;
mod store;
mod webhook;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use gateway_core::{
    access::Envelope,
    elevation::{Grants, Person, Policy, Time},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::{info, warn};

pub use self::webhook::Target;
use self::{rate::Rate, store::Store, webhook::Webhook};
use super::{
    access::{GRANTS, Holder, Kind},
    view::View,
};
use crate::access::Place;
use crate::elevation::{Action, Book, Event, Refusal, Wish};

/// How often a step is tried that another replica's step came before.
const TRIES: u32 = 5;

/// What all questions of the portal have.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    caller: Caller,
    wish: Value,
}

/// Who asks, as the filter knows it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Caller {
    user: String,
    issuer: String,
    subject: String,
    groups: Vec<String>,
    meets: Vec<String>,
}

impl Caller {
    fn person(&self) -> Person<'_> {
        let Self { user, issuer, subject, groups, meets } = self;
        Person { user, issuer, subject, groups, meets }
    }
}

/// Why there is no answer of the usual kind: a code of HTTP, and why.
struct Failure(u16, String);

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self(refusal.status(), refusal.to_string())
    }
}

/// The office.
pub(super) struct Office {
    store: Store,
    holder: Arc<Holder>,
    view: Arc<Mutex<View>>,
    webhook: Option<Webhook>,
    /// One step at a time: two of one process need not meet at the object.
    turn: Mutex<()>,
    rate: Rate,
}

impl Office {
    /// Opens it: what it writes to is there from then on.
    ///
    /// # Errors
    /// If the file cannot be written, or the webhook's files say nothing usable; in one line.
    pub fn open(
        place: &Place,
        webhook: Option<&Target>,
        holder: Arc<Holder>,
        view: Arc<Mutex<View>>,
    ) -> Result<Self, String> {
        let store = Store::open(place)?;
        let webhook = webhook.map(Webhook::start).transpose()?;
        let (turn, rate) = (Mutex::default(), Rate::default());
        Ok(Self { store, holder, view, webhook, turn, rate })
    }

    /// Answers a question: a code of HTTP, and JSON.
    pub fn answer(&self, path: &str, body: &[u8]) -> (u16, Value) {
        let result = match path.strip_prefix(GRANTS).unwrap_or_default() {
            "admin/list" => self.read().map(|grants| json!(grants)),
            path => match path.strip_prefix("admin/end/") {
                Some(id) => self.change(|book, _, _| book.end(id)),
                None => return self.asked(path, body),
            },
        };
        match result {
            Ok(answer) => (200, answer),
            Err(Failure(status, why)) => (status, json!({"error": why})),
        }
    }

    fn asked(&self, path: &str, body: &[u8]) -> (u16, Value) {
        let Question { caller, wish } = match serde_json::from_slice(body) {
            Ok(question) => question,
            Err(error) => return (400, json!({"error": error.to_string()})),
        };
        // First of all: what is refused reads the object, too, and is a line of the log.
        if !self.rate.take(&caller.issuer, &caller.subject) {
            return (429, json!({"error": "too many steps: try again in some seconds"}));
        }
        match self.asked_by(caller.person(), path, wish) {
            Ok(answer) => (200, answer),
            // Who tries to agree to its own is to be seen, too.
            Err(Failure(status, why)) => {
                let audit = json!({
                    "event": "elevation.refused", "at": now().to_string(), "asked": path, "why": why,
                    "by": {"user": caller.user, "issuer": caller.issuer},
                });
                info!(audit = %audit, "elevation refused: {why}");
                (status, json!({"error": why, "audit": audit}))
            }
        }
    }

    fn asked_by(&self, person: Person<'_>, path: &str, wish: Value) -> Result<Value, Failure> {
        let bad = |error: serde_json::Error| Failure(400, error.to_string());
        // A person is told from a namesake by these.
        if person.issuer.is_empty() || person.subject.is_empty() || person.user.is_empty() {
            return Err(Failure(403, "who asks is not known by issuer and subject".to_owned()));
        }
        match path {
            "list" => {
                // Who only looks does not have the API server asked each time.
                let grants = self.holder.grants().map_or_else(|| self.read(), Ok)?;
                let (book, policy) = (Book::new(grants), self.policy()?);
                Ok(book.view(&policy, person, now()))
            }
            "ask" => {
                let wish: Wish = serde_json::from_value(wish).map_err(bad)?;
                let id = new_id("g-")?;
                self.change(|book, policy, now| {
                    book.ask(policy, wish.clone(), person, id.clone(), now)
                })
            }
            path => {
                let step =
                    path.split_once('/').and_then(|(id, word)| Some((id, Action::of(word)?)));
                let Some((id, action)) = step else {
                    return Err(Failure(404, "there is no such step".to_owned()));
                };
                self.change(|book, policy, now| book.step(policy, action, id, person, now))
            }
        }
    }

    /// Reads the object, changes it, and writes it, unless somebody else has meanwhile: then anew.
    fn change(
        &self,
        step: impl Fn(&mut Book, &Policy, Time) -> Result<Event, Refusal>,
    ) -> Result<Value, Failure> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (policy, event_id) = (self.policy()?, new_id("e-")?);
        for _ in 0..TRIES {
            let now = now();
            let told = self.holder.told(Kind::Grants);
            let (grants, version) =
                self.store.read(&self.view).map_err(|reason| unreachable(&reason))?;
            let mut book = Book::new(grants);
            let event = step(&mut book, &policy, now)?;
            let mut document = store::text(book.document());
            if document.is_none() {
                // What can only be seen gives way.
                book.drop_over(now);
                document = store::text(book.document());
            }
            let Some(document) = document else {
                let why =
                    "the grants take all the room that there is: an administrator can end some";
                return Err(Failure(429, why.to_owned()));
            };
            let written = self
                .store
                .write(&document, &version, &self.view)
                .map_err(|reason| unreachable(&reason))?;
            let Some(version) = written else { continue };
            // The filter need not wait for the file, or the watch.
            let grants = book.document().clone();
            let put = |it: &mut Envelope| it.grants = Some(grants);
            self.holder.take_written(Kind::Grants, told, version.as_deref(), put);
            return Ok(self.tell(&event, &event_id, now));
        }
        Err(Failure(409, "others change the grants at the same time: try again".to_owned()))
    }

    fn tell(&self, event: &Event, id: &str, now: Time) -> Value {
        let document = event.document(id, now);
        info!(audit = %document, "elevation {}: grant {}", event.what, event.entry.id);
        if let Some(webhook) = &self.webhook {
            webhook.tell(&document);
        }
        json!({"grant": event.entry, "audit": document})
    }

    fn read(&self) -> Result<Grants, Failure> {
        self.store.read(&self.view).map(|(grants, _)| grants).map_err(|reason| unreachable(&reason))
    }

    /// The rules as they are now.
    fn policy(&self) -> Result<Policy, Failure> {
        let view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        let documents = Arc::clone(&view.documents);
        drop(view);
        documents.gateway().elevation_policy().map_err(|error| Failure(503, error.to_string()))
    }
}

fn unreachable(reason: &str) -> Failure {
    warn!("grants: {reason}");
    Failure(503, "the grants cannot be read or written at the moment".to_owned())
}

/// The time since 1970.
fn now() -> Time {
    Time(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

/// A name that no other grant or event has, and nobody can guess.
fn new_id(begins: &str) -> Result<String, Failure> {
    use std::fmt::Write;
    let mut random = [0; 10];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut random)
        .map_err(|_| Failure(503, "no randomness".to_owned()))?;
    let mut id = begins.to_owned();
    for byte in random {
        let _ = write!(id, "{byte:02x}");
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use gateway_client::{Connection, CredentialSource, Source};
    use gateway_config::{Documents, Rights};
    use gateway_core::config::{API_VERSION, KIND};

    use gateway_config::parse_grants;

    use super::*;
    use crate::run::{
        access::Answer,
        apiserver::{ApiServer, Credential},
    };

    /// An office with a file, whose rules lend `admins` to developers.
    fn office(path: &Path) -> Office {
        let connection = Connection {
            host: "127.0.0.1".parse().unwrap(),
            port: 1,
            server_name: None,
            ca: None,
            credential: CredentialSource::Token(Source::Inline(Vec::new())),
        };
        let rules = json!({"rules": [{
            "name": "a", "groups": ["admins"], "toGroups": ["dev"], "approvers": ["leads"],
        }]});
        let authentication = json!({
            "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
            "jwt": [{
                "issuer": {"url": "https://i", "audiences": ["kubernetes"]},
                "claimMappings": {"username": {"claim": "sub", "prefix": ""}},
            }],
        });
        let gateway = json!({"apiVersion": API_VERSION, "kind": KIND, "elevation": rules});
        let documents = Documents::from_values(&authentication, Some(gateway)).unwrap();
        let view = View {
            apiserver: ApiServer::new(&connection, None, &Credential::Token(String::new()))
                .unwrap(),
            documents: Arc::new(documents),
            issuers: Vec::new(),
            rights: Rights { plain: Vec::new(), constrained: Vec::new() },
            generation: 0,
        };
        let holder = Holder::new(&[Kind::Grants], Arc::default());
        let place = Place::File(path.to_owned());
        Office::open(&place, None, holder, Arc::new(Mutex::new(view))).unwrap()
    }

    fn ask(office: &Office, path: &str, user: &str, groups: &[&str], wish: &Value) -> (u16, Value) {
        let caller = json!({
            "user": user, "issuer": "https://i", "subject": format!("{user}'s"), "groups": groups, "meets": [],
        });
        let body = json!({"caller": caller, "wish": wish}).to_string();
        office.answer(&format!("/grants/{path}"), body.as_bytes())
    }

    #[test]
    fn a_step_is_in_the_file_and_at_the_filter_before_it_is_answered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("grants.json");
        let office = office(&path);
        let wish = json!({"groups": ["admins"], "seconds": 600, "reason": "r"});
        let (status, answer) = ask(&office, "ask", "jane", &["dev"], &wish);
        assert_eq!(
            (status, &answer["audit"]["event"]),
            (200, &json!("elevation.asked")),
            "{answer}"
        );
        let id = answer["grant"]["id"].as_str().unwrap();
        let step = format!("{id}/approve");
        let (status, answer) = ask(&office, &step, "jane", &["dev", "leads"], &Value::Null);
        // What was tried is told with who tried.
        assert_eq!(
            (
                status,
                &answer["audit"]["event"],
                &answer["audit"]["by"]["user"],
                &answer["audit"]["asked"]
            ),
            (403, &json!("elevation.refused"), &json!("jane"), &json!(step)),
        );
        assert_eq!(ask(&office, &step, "bob", &["dev"], &Value::Null).0, 404);
        let (status, answer) = ask(&office, &step, "kim", &["leads"], &Value::Null);
        assert_eq!((status, &answer["grant"]["state"]), (200, &json!("Approved")), "{answer}");
        assert_eq!(ask(&office, &step, "kim", &["leads"], &Value::Null).0, 409);
        let written: Grants = parse_grants(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(json!(written.grants[0]), answer["grant"]);
        let Answer::Changed { body, .. } = office.holder.answer("") else { panic!() };
        assert!(String::from_utf8(body).unwrap().contains(id));
        let (_, view) = ask(&office, "list", "kim", &["leads"], &Value::Null);
        assert_eq!(view["open"][0]["id"], id);
        let (status, ended) = office.answer(&format!("/grants/admin/end/{id}"), b"{}");
        assert_eq!((status, &ended["grant"]["state"]), (200, &json!("Ended")));
        let (_, all) = office.answer("/grants/admin/list", b"{}");
        assert_eq!(all["grants"][0]["state"], "Ended");
    }

    /// Steps that are refused read the object, too, in turn with those of others.
    #[test]
    fn who_tries_again_and_again_is_told_to_wait_and_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let office = office(&folder.path().join("grants.json"));
        let tries = |user: &str| ask(&office, "g-unknown/approve", user, &["leads"], &Value::Null);
        let tried: Vec<_> = (0..60).map(|_| tries("mallory")).collect();
        assert_eq!(tried[0].0, 404);
        let (status, last) = tried.last().unwrap();
        // Not a line of the audit log for each.
        assert_eq!((*status, &last["audit"]), (429, &Value::Null), "{last}");
        assert_eq!(tries("kim").0, 404);
    }

    /// By its id who is told can tell an event that comes again from another of the same second.
    #[test]
    fn each_event_has_an_id() {
        let folder = tempfile::tempdir().unwrap();
        let office = office(&folder.path().join("grants.json"));
        let wish = json!({"groups": ["admins"], "seconds": 600, "reason": "r"});
        let event = |user: &str| {
            let (_, mut answer) = ask(&office, "ask", user, &["dev"], &wish);
            answer["audit"]["id"].take()
        };
        let ids = [event("jane"), event("bob")];
        assert!(ids.iter().all(|id| id.as_str().is_some_and(|id| id.len() == 22)), "{ids:?}");
        assert_ne!(ids[0], ids[1]);
    }

    /// Long reasons and names fill the object before there are a thousand grants. It was 503 for everybody.
    #[test]
    fn a_full_object_gives_up_what_is_over_and_then_says_that_it_is_full() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("grants.json");
        let office = office(&path);
        let now = now();
        let fill = |state: &str| {
            let entry = |number: usize| {
                json!({
                    "id": format!("g-{number}"), "state": state, "user": "u".repeat(1000), "issuer": "https://i",
                    "subject": number.to_string(), "groups": ["admins"], "reason": "r".repeat(1000),
                    "requestedAt": now.to_string(), "from": now.to_string(),
                    "until": Time(now.0 + 600).to_string(),
                })
            };
            let document = |count: usize| json!({"apiVersion": API_VERSION, "kind": "Grants", "grants": (0..count).map(entry).collect::<Vec<_>>()});
            let each = serde_json::to_string_pretty(&document(100)).unwrap().len() / 100;
            let text = serde_json::to_string_pretty(&document(999_000 / each)).unwrap();
            assert!((980_000..1_000_000).contains(&text.len()), "{}", text.len());
            fs::write(&path, text).unwrap();
        };
        let wish = json!({"groups": ["admins"], "seconds": 600, "reason": "r".repeat(1000)});
        fill("Approved");
        let mut last = (0, Value::Null);
        for number in 0..20 {
            last = ask(&office, "ask", &format!("user-{number}"), &["dev"], &wish);
        }
        assert_eq!(last.0, 429, "{}", last.1);
        let (status, ended) = office.answer("/grants/admin/end/g-0", b"{}");
        assert_eq!(status, 200, "{ended}");
        fill("Ended");
        for number in 0..20 {
            let (status, answer) = ask(&office, "ask", &format!("user-{number}"), &["dev"], &wish);
            assert_eq!(status, 200, "{answer}");
        }
    }

    /// A document that a person spoiled is not written over.
    #[test]
    fn what_is_not_understood_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("grants.json");
        let office = office(&path);
        let wish = json!({"groups": ["admins"], "seconds": 600});
        let nobody = json!({"caller": {"user": "jane", "issuer": "https://i", "subject": "", "groups": ["dev"], "meets": []}, "wish": wish});
        for (path, body, want) in [
            ("ask", "{".to_owned(), 400),
            ("ask", "{}".to_owned(), 400),
            ("ask", nobody.to_string(), 403),
            (
                "ask",
                nobody.to_string().replace("\"subject\":\"\"", "\"subject\":\"1\",\"admin\":true"),
                400,
            ),
        ] {
            assert_eq!(
                office.answer(&format!("/grants/{path}"), body.as_bytes()).0,
                want,
                "{body}"
            );
        }
        for (path, want) in [("x/promote", 404), ("x/approve", 404), ("", 404)] {
            assert_eq!(ask(&office, path, "jane", &["dev"], &wish).0, want, "{path}");
        }
        assert_eq!(
            ask(
                &office,
                "ask",
                "jane",
                &["dev"],
                &json!({"groups": ["system:masters"], "seconds": 1})
            )
            .0,
            403
        );
        fs::write(&path, "kind: Grants").unwrap();
        assert_eq!(ask(&office, "ask", "jane", &["dev"], &wish).0, 503);
        assert_eq!(fs::read_to_string(&path).unwrap(), "kind: Grants");
    }
}
