use gateway_core::config::{API_VERSION, GatewayConfiguration, KIND};

use super::*;

const ISSUER: &str = "https://issuer.example";
const OTHER: &str = "https://other.example";
const NOW: Time = Time(1_795_982_400);

fn policy() -> Policy {
    let document = json!({"apiVersion": API_VERSION, "kind": KIND, "elevation": {"rules": [
        {"name": "on-call", "groups": ["admins"], "toGroups": ["dev"], "approvers": ["leads"],
         "approverIssuers": [ISSUER, OTHER], "maximumSeconds": 3600},
        {"name": "debug", "groups": ["debuggers"], "toGroups": ["dev"], "requiresApproval": false},
    ]}});
    GatewayConfiguration::from_value(document).unwrap().elevation_policy().unwrap()
}

fn person<'a>(user: &'a str, subject: &'a str, groups: &'a [String]) -> Person<'a> {
    Person { user, issuer: ISSUER, subject, groups, meets: &[] }
}

fn wish(group: &str, seconds: u64) -> Wish {
    Wish { groups: vec![group.to_owned()], seconds, reason: String::new() }
}

fn ids(view: &Value, list: &str) -> Vec<String> {
    let entries = view[list].as_array().unwrap();
    entries.iter().map(|entry| entry["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_grant_is_asked_for_agreed_to_by_another_and_ended() {
    let policy = policy();
    let (dev, leads) = (["dev".to_owned()], ["leads".to_owned()]);
    let (jane, kim) = (person("jane", "1", &dev), person("kim", "2", &leads));
    let mut book = Book::new(Grants::none());
    let asked = book.ask(&policy, wish("admins", 1800), jane, "a".into(), NOW).unwrap();
    assert_eq!((asked.what, asked.entry.state), ("asked", State::Requested));
    assert_eq!(ids(&book.view(&policy, jane, NOW), "own"), ["a"]);
    assert!(ids(&book.view(&policy, jane, NOW), "requests").is_empty());
    assert_eq!(ids(&book.view(&policy, kim, NOW), "requests"), ["a"]);
    let later = Time(NOW.0 + 600);
    let approved = book.step(&policy, Action::Approve, "a", kim, later).unwrap();
    let Entry { from, until, .. } = approved.entry;
    // The time counts from when somebody agreed.
    assert_eq!((approved.what, from, until), ("approved", later, Time(later.0 + 1800)));
    let event = approved.document(later);
    assert_eq!(event["event"], "elevation.approved");
    assert_eq!(event["by"], json!({"user": "kim", "issuer": ISSUER}));
    assert_eq!(event["grant"]["approvedBy"]["groups"], json!(["leads"]));
    assert_eq!(ids(&book.view(&policy, kim, later), "open"), ["a"]);
    // What the filter makes of it.
    let (table, refused) = gateway_core::elevation::Table::new(book.document(), &policy);
    assert!(refused.is_empty(), "{refused:?}");
    let (lent, _) = table.lent(&policy, jane, later.since_epoch());
    assert_eq!(lent.unwrap().groups, ["admins"]);
    let ended = book.step(&policy, Action::End, "a", jane, later).unwrap();
    assert_eq!((ended.what, ended.entry.state), ("ended", State::Ended));
    assert!(ids(&book.view(&policy, kim, later), "open").is_empty());
}

/// A form that is sent again, and a second approver who was slower.
#[test]
fn a_step_is_taken_once() {
    let policy = policy();
    let (dev, leads) = (["dev".to_owned()], ["leads".to_owned()]);
    let (jane, kim) = (person("jane", "1", &dev), person("kim", "2", &leads));
    let mut book = Book::new(Grants::none());
    book.ask(&policy, wish("admins", 600), jane, "a".into(), NOW).unwrap();
    let twice = book.ask(&policy, wish("admins", 600), jane, "b".into(), NOW).unwrap_err();
    assert_eq!(twice.status(), 409);
    book.step(&policy, Action::Approve, "a", kim, NOW).unwrap();
    for action in [Action::Approve, Action::Deny] {
        let later = Time(NOW.0 + 300);
        let error = book.step(&policy, action, "a", kim, later).unwrap_err();
        assert_eq!((error.status(), error.to_string().as_str()), (409, "it is approved already"));
    }
    // Nothing of it was made longer.
    assert_eq!(book.document().grants[0].until, Time(NOW.0 + 600));
    book.step(&policy, Action::End, "a", kim, NOW).unwrap();
    let error = book.step(&policy, Action::Approve, "a", kim, NOW).unwrap_err();
    assert_eq!(error, Refusal::State("ended"));
}

#[test]
fn nobody_agrees_to_its_own_nor_by_another_account() {
    let policy = policy();
    let both = ["dev".to_owned(), "leads".to_owned()];
    let jane = person("jane", "1", &both);
    let namesake = Person { issuer: OTHER, subject: "9", ..jane };
    let renamed = Person { user: "j", ..jane };
    let mut book = Book::new(Grants::none());
    book.ask(&policy, wish("admins", 600), jane, "a".into(), NOW).unwrap();
    for own in [jane, namesake, renamed] {
        let error = book.step(&policy, Action::Approve, "a", own, NOW).unwrap_err();
        assert_eq!(error, Refusal::Rule(Objection::Own));
        assert!(ids(&book.view(&policy, own, NOW), "requests").is_empty());
    }
    // The account elsewhere may not end it either.
    let error = book.step(&policy, Action::End, "a", namesake, NOW).unwrap_err();
    assert_eq!(error, Refusal::NotYours);
    let dev = ["dev".to_owned()];
    let strangers = [person("bob", "3", &dev), person("eve", "4", &[])];
    for stranger in strangers {
        for action in [Action::Approve, Action::Deny, Action::End] {
            let error = book.step(&policy, action, "a", stranger, NOW).unwrap_err();
            assert_eq!(error, Refusal::Unknown);
        }
    }
}

#[test]
fn what_may_not_be_lent_is_not_asked_for() {
    let policy = policy();
    let (dev, none) = (["dev".to_owned()], []);
    let jane = person("jane", "1", &dev);
    let mut book = Book::new(Grants::none());
    let mut ask = |person, wish| {
        book.ask(&policy, wish, person, "a".into(), NOW).map(|event| event.entry.state)
    };
    let rule = |objection| Err(Refusal::Rule(objection));
    assert_eq!(ask(jane, wish("system:masters", 600)), rule(Objection::Groups));
    assert_eq!(ask(jane, wish("admins", 3601)), rule(Objection::Length));
    assert_eq!(ask(jane, wish("admins", u64::MAX)), rule(Objection::Length));
    assert_eq!(ask(jane, wish("admins", 0)), rule(Objection::Length));
    assert_eq!(ask(person("bob", "3", &none), wish("admins", 600)), rule(Objection::User));
    assert_eq!(ask(jane, wish("a\nb", 600)).unwrap_err().status(), 400);
    assert_eq!(ask(jane, wish("debuggers", 600)), Ok(State::Approved), "nobody else is needed");
}

/// A day long nobody could ask for anything.
#[test]
fn nobody_fills_the_book_by_asking_and_ending() {
    let policy = policy();
    let dev = ["dev".to_owned()];
    let (jane, bob) = (person("jane", "1", &dev), person("bob", "2", &dev));
    let mut book = Book::new(Grants::none());
    for n in 0..2_000 {
        let now = Time(NOW.0 + 10 * n);
        book.ask(&policy, wish("debuggers", 600), jane, n.to_string(), now).unwrap();
        book.step(&policy, Action::End, &n.to_string(), jane, now).unwrap();
        assert!(book.document().grants.len() <= MOST_OVER, "{n}");
    }
    let now = Time(NOW.0 + 20_000);
    book.ask(&policy, wish("debuggers", 600), bob, "bob".into(), now).unwrap();
    let kept = book.document().grants.iter().map(|it| it.id.as_str()).collect::<Vec<_>>();
    assert_eq!((kept[0], kept[kept.len() - 2], kept[kept.len() - 1]), ("1992", "1999", "bob"));
    // Many users: what is over gives way to what is asked for, and what is open does not.
    for n in 0..2_000 {
        let subject = format!("s{n}");
        let user = person("user", &subject, &dev);
        book.ask(&policy, wish("debuggers", 600), user, subject.clone(), now).unwrap();
        book.step(&policy, Action::End, &subject, user, now).unwrap();
    }
    assert_eq!(book.document().grants.len(), MOST);
    assert!(book.document().grants.iter().any(|entry| entry.id == "bob"));
}

/// Each request is written to the API server.
#[test]
fn nobody_asks_as_fast_as_it_can() {
    let policy = policy();
    let dev = ["dev".to_owned()];
    let jane = person("jane", "1", &dev);
    let mut book = Book::new(Grants::none());
    for n in 0..MOST_A_MINUTE {
        book.ask(&policy, wish("debuggers", 600), jane, n.to_string(), NOW).unwrap();
        book.step(&policy, Action::End, &n.to_string(), jane, NOW).unwrap();
    }
    let mut ask = |at| book.ask(&policy, wish("debuggers", 600), jane, "x".into(), Time(at));
    let error = ask(NOW.0 + MINUTE - 1).unwrap_err();
    assert_eq!((error.status(), error.to_string().contains("a minute")), (429, true), "{error}");
    ask(NOW.0 + MINUTE).unwrap();
}

/// A person of a thousand groups agrees to a thousand requests: the object would be full of groups that say nothing.
#[test]
fn of_who_agrees_those_groups_are_kept_that_count() {
    let policy = policy();
    let dev = ["dev".to_owned()];
    let mut many: Vec<_> = (0..1_000).map(|n| format!("group-{n}")).collect();
    many.push("leads".to_owned());
    let (jane, kim) = (person("jane", "1", &dev), person("kim", "2", &many));
    let mut book = Book::new(Grants::none());
    book.ask(&policy, wish("admins", 600), jane, "a".into(), NOW).unwrap();
    let approved = book.step(&policy, Action::Approve, "a", kim, NOW).unwrap();
    assert_eq!(approved.entry.approved_by.unwrap().groups, ["leads"]);
    let (table, refused) = gateway_core::elevation::Table::new(book.document(), &policy);
    assert!(refused.is_empty() && table.lent(&policy, jane, NOW.since_epoch()).0.is_some());
}

#[test]
fn what_is_over_leaves_and_the_book_stays_small() {
    let policy = policy();
    let dev = ["dev".to_owned()];
    let mut book = Book::new(Grants::none());
    for n in 0..1000 {
        let subject = n.to_string();
        let jane = person("jane", &subject, &dev);
        book.ask(&policy, wish("debuggers", 600), jane, subject.clone(), NOW).unwrap();
    }
    let jane = person("jane", "x", &dev);
    let mut ask = |now| book.ask(&policy, wish("debuggers", 600), jane, "x".into(), now);
    assert_eq!(ask(NOW).unwrap_err().status(), 429);
    let day = Time(NOW.0 + 600 + KEPT);
    ask(day).unwrap();
    assert_eq!(book.document().grants.len(), 1);
    let text = serde_json::to_vec(book.document()).unwrap();
    assert_eq!(Grants::parse(&text).unwrap(), *book.document());
}
