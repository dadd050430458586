use serde_json::{Value, json};

// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::config::{API_VERSION, GatewayConfiguration};

const ISSUER: &str = "https://issuer.example";
const OTHER: &str = "https://other.example";
/// 2026-11-29T20:00:00Z
const NOW: u64 = 1_795_982_400;

fn policy(rules: &Value) -> Policy {
    let document = json!({"apiVersion": API_VERSION, "kind": crate::config::KIND,
        "elevation": {"rules": rules}});
    GatewayConfiguration::from_value(document).unwrap().elevation_policy().unwrap()
}

/// A rule for developers, with more fields.
fn rule(fields: &Value) -> Value {
    let mut rule = json!({"name": "a", "groups": ["admins", "debuggers"], "toGroups": ["dev"],
        "approvers": ["leads"], "maximumSeconds": 3600});
    merge(&mut rule, fields);
    rule
}

/// A grant to Jane, in force, with more fields.
fn grant(fields: &Value) -> Value {
    let mut grant = json!({
        "id": "g1", "state": "Approved", "user": "jane", "issuer": ISSUER, "subject": "1", "groups": ["admins"],
        "requestedAt": "2026-11-29T19:50:00Z", "from": "2026-11-29T19:55:00Z", "until": "2026-11-29T20:30:00Z",
        "approvedBy": {"user": "kim", "issuer": ISSUER, "subject": "2", "groups": ["leads"], "at": "2026-11-29T19:55:00Z"},
    });
    merge(&mut grant, fields);
    grant
}

fn merge(into: &mut Value, fields: &Value) {
    for (name, value) in fields.as_object().unwrap() {
        let place = &mut into[name];
        if place.is_object() && value.is_object() {
            merge(place, value);
        } else {
            *place = value.clone();
        }
    }
}

fn document(grants: &[Value]) -> String {
    json!({"apiVersion": API_VERSION, "kind": KIND, "grants": grants}).to_string()
}

fn read(grants: &[Value]) -> Grants {
    Grants::parse(document(grants).as_bytes()).unwrap()
}

fn groups(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// What is lent to Jane now by one grant under one rule, or what is against it.
fn outcome(rule: &Value, grant: &Value) -> Result<Vec<String>, &'static str> {
    let policy = policy(&json!([rule]));
    let (table, refused) = Table::new(&read(std::slice::from_ref(grant)), &policy);
    if let [(id, objection)] = refused.as_slice() {
        assert_eq!(id, "g1");
        return Err(objection.keyword());
    }
    let own = groups(&["dev"]);
    let jane = Person { user: "jane", issuer: ISSUER, subject: "1", groups: &own, meets: &[] };
    let (lent, refused) = table.lent(&policy, jane, std::time::Duration::from_secs(NOW));
    match (lent, refused) {
        (Some(lent), 0) => Ok(lent.groups),
        (None, 0) => Err("nothing"),
        (None, 1) => Err(Objection::User.keyword()),
        other => panic!("{other:?}"),
    }
}

/// Whoever writes the object by hand gets no more of it than the configuration allows.
#[test]
fn a_grant_beyond_its_rule_has_no_effect() {
    let lent = |names: &[&str]| Ok(groups(names));
    for (fields, want) in [
        (json!({}), lent(&["admins"])),
        (json!({"groups": ["debuggers", "admins"]}), lent(&["debuggers", "admins"])),
        (json!({"groups": ["admins", "dev"]}), Err("groups")),
        (json!({"groups": ["Admins"]}), Err("groups")),
        (json!({"groups": ["system:masters"]}), Err("groups")),
        (json!({"groups": ["admins", "system:masters"]}), Err("groups")),
        (json!({"groups": []}), Err("groups")),
        // Longer than an hour, and for no time.
        (json!({"until": "2026-11-29T20:55:00Z"}), lent(&["admins"])),
        (json!({"until": "2026-11-29T20:55:01Z"}), Err("length")),
        (json!({"until": "2999-01-01T00:00:00Z"}), Err("length")),
        (json!({"until": "2026-11-29T19:55:00Z"}), Err("length")),
        (json!({"until": "2026-11-29T19:00:00Z"}), Err("length")),
        // Over, and not begun.
        (json!({"until": "2026-11-29T20:00:00Z"}), Err("nothing")),
        (json!({"until": "2026-11-29T20:00:01Z"}), lent(&["admins"])),
        (json!({"from": "2026-11-29T20:00:00Z"}), lent(&["admins"])),
        (json!({"from": "2026-11-29T20:00:01Z"}), Err("nothing")),
        (json!({"from": "2026-11-29T22:00:00+02:00"}), lent(&["admins"])),
        // States.
        (json!({"state": "Requested"}), Err("nothing")),
        (json!({"state": "Denied"}), Err("nothing")),
        (json!({"state": "Ended"}), Err("nothing")),
        // Others of the same name, or of the same subject elsewhere.
        (json!({"subject": "2", "approvedBy": {"subject": "3"}}), Err("nothing")),
        (json!({"user": "janet"}), Err("nothing")),
        (json!({"issuer": OTHER, "approvedBy": {"issuer": OTHER}}), Err("nothing")),
        // Who agreed.
        (json!({"approvedBy": null}), Err("unapproved")),
        (json!({"approvedBy": {"subject": "1"}}), Err("own")),
        (json!({"approvedBy": {"user": "jane"}}), Err("own")),
        (json!({"approvedBy": {"user": "JANE"}}), Err("own")),
        (json!({"approvedBy": {"issuer": OTHER}}), Err("approver")),
        (json!({"approvedBy": {"groups": []}}), Err("approver")),
        (json!({"approvedBy": {"groups": ["dev", "Leads"]}}), Err("approver")),
        (json!({"approvedBy": {"at": "2026-11-29T19:49:59Z"}}), Err("dates")),
        (json!({"approvedBy": {"at": "2026-11-29T19:55:01Z"}}), Err("dates")),
        // It was agreed to before it begins, however long before: it begins then, and lasts no longer for that.
        (
            json!({"from": "2026-11-29T20:00:00Z", "until": "2026-11-29T21:00:00Z"}),
            lent(&["admins"]),
        ),
        (json!({"from": "2026-11-29T20:00:00Z", "until": "2026-11-29T21:00:01Z"}), Err("length")),
        (json!({"from": "2026-11-29T20:00:01Z", "until": "2026-11-29T21:00:00Z"}), Err("nothing")),
        (
            json!({
                "requestedAt": "2025-11-29T19:50:00Z", "approvedBy": {"at": "2025-11-29T19:55:00Z"},
                "from": "2026-11-29T20:00:00Z", "until": "2026-11-29T21:00:00Z",
            }),
            lent(&["admins"]),
        ),
    ] {
        assert_eq!(outcome(&rule(&json!({})), &grant(&fields)), want, "{fields}");
    }
}

/// Jane's account at another issuer agrees to nothing of hers, whatever it is called there.
#[test]
fn a_second_account_at_another_issuer_agrees_only_where_a_rule_names_that_issuer_and_never_by_the_same_name()
 {
    let there = |user: &str| grant(&json!({"approvedBy": {"user": user, "issuer": OTHER}}));
    let both = rule(&json!({"approverIssuers": [ISSUER, OTHER]}));
    assert_eq!(outcome(&rule(&json!({})), &there("kim")), Err("approver"));
    assert_eq!(outcome(&both, &there("kim")), Ok(groups(&["admins"])));
    for namesake in ["jane", "Jane", "https://other.example#jane", "oidc:jane"] {
        assert_eq!(outcome(&both, &there(namesake)), Err("own"), "{namesake}");
    }
    let only_there = rule(&json!({"approverIssuers": [OTHER]}));
    assert_eq!(outcome(&only_there, &grant(&json!({}))), Err("approver"));
}

#[test]
fn a_rule_says_to_whom_for_how_long_and_why() {
    let lent = || Ok(groups(&["admins"]));
    let alone = json!({"requiresApproval": false});
    for (fields, of_grant, want) in [
        (json!({"toGroups": ["ops"]}), json!({}), Err("user")),
        (json!({"toGroups": [], "toUsers": ["jane"]}), json!({}), lent()),
        (json!({"toGroups": [], "toUsers": ["kim"]}), json!({}), Err("user")),
        (json!({"toIssuer": ISSUER}), json!({}), lent()),
        (json!({"toIssuer": OTHER}), json!({}), Err("user")),
        (json!({"maximumSeconds": 2099}), json!({}), Err("length")),
        (json!({"maximumSeconds": 2100}), json!({}), lent()),
        (json!({"reasonPattern": "INC-[0-9]+"}), json!({}), Err("reason")),
        (json!({"reasonPattern": "INC-[0-9]+"}), json!({"reason": "INC-1"}), lent()),
        (json!({"reasonPattern": "INC-[0-9]+"}), json!({"reason": "no INC-1"}), Err("reason")),
        (json!({"reasonPattern": "a|INC-[0-9]+"}), json!({"reason": "INC-1 or so"}), Err("reason")),
        (alone.clone(), json!({"approvedBy": null}), lent()),
        // Who says that somebody agreed has to be right.
        (alone.clone(), json!({}), lent()),
        (alone, json!({"approvedBy": {"subject": "1"}}), Err("own")),
    ] {
        assert_eq!(outcome(&rule(&fields), &grant(&of_grant)), want, "{fields} {of_grant}");
    }
}

/// The claims of a token.
fn claims(text: &str) -> json::Object {
    match json::parse(text.as_bytes(), json::Limits { depth: 9, values: 99 }).unwrap() {
        json::Value::Object(claims) => claims,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_expression_says_to_whom_and_what_cannot_be_evaluated_lends_nothing() {
    let identity = |groups: &[String]| Identity {
        username: "jane".to_owned(),
        groups: groups.to_vec(),
        ..Identity::default()
    };
    let slow = "user.groups.all(a, user.groups.all(b, a + b != 'x'))";
    let many: Vec<_> = (0..2000).map(|n| format!("group-{n}")).collect();
    let dev = groups(&["dev"]);
    let lent = || Ok(groups(&["admins"]));
    for (fields, of_token, own, want) in [
        (json!({"toExpression": "claims.team == 'ops'"}), r#"{"team": "ops"}"#, &dev, lent()),
        (json!({"toExpression": "claims.team == 'ops'"}), r#"{"team": "web"}"#, &dev, Err("user")),
        // There is no such claim, or it is of another type.
        (json!({"toExpression": "claims.team == 'ops'"}), "{}", &dev, Err("user")),
        (json!({"toExpression": "claims.team"}), "{}", &dev, Err("not compiled")),
        (json!({"toExpression": "claims.n > 5"}), r#"{"n": "9"}"#, &dev, Err("user")),
        (json!({"toExpression": "user.username == 'jane'"}), "{}", &dev, lent()),
        (json!({"toExpression": "'dev' in user.groups"}), "{}", &many, Err("user")),
        // With the fields beside it.
        (json!({"toExpression": "true", "toGroups": ["ops"]}), "{}", &dev, Err("user")),
        (json!({"toExpression": "true", "toGroups": []}), "{}", &dev, lent()),
        (
            json!({"toExpression": "true", "toGroups": [], "toUsers": ["kim"]}),
            "{}",
            &dev,
            Err("user"),
        ),
        (
            json!({"toExpression": "true", "toGroups": [], "toIssuer": OTHER}),
            "{}",
            &dev,
            Err("user"),
        ),
        (json!({"toExpression": "false"}), "{}", &dev, Err("user")),
        // It ends.
        (json!({"toExpression": slow, "toGroups": []}), "{}", &dev, lent()),
        (json!({"toExpression": slow, "toGroups": []}), "{}", &many, Err("user")),
    ] {
        let rules = json!([rule(&fields)]);
        let document = json!({"apiVersion": API_VERSION, "kind": crate::config::KIND,
            "elevation": {"rules": rules}});
        let Ok(configuration) = GatewayConfiguration::from_value(document) else {
            assert_eq!(want, Err("not compiled"), "{fields}");
            continue;
        };
        let policy = configuration.elevation_policy().unwrap();
        let meets = policy.met(&identity(own), &claims(of_token));
        let jane =
            Person { user: "jane", issuer: ISSUER, subject: "1", groups: own, meets: &meets };
        let (table, _) = Table::new(&read(&[grant(&json!({}))]), &policy);
        let (lent, _) = table.lent(&policy, jane, std::time::Duration::from_secs(NOW));
        let lent = lent.map(|lent| lent.groups).ok_or("user");
        assert_eq!(lent, want, "{fields} {of_token}");
        assert_eq!(policy.offers(jane).next().is_some(), want.is_ok(), "{fields} {of_token}");
    }
}

/// A group that one rule lends, under the approval that another asks for, is lent by neither.
#[test]
fn rules_are_not_mixed() {
    let easy = rule(&json!({"groups": ["debuggers"], "requiresApproval": false}));
    let hard = rule(&json!({"name": "b", "groups": ["admins"]}));
    let policy = policy(&json!([easy, hard]));
    let both = grant(&json!({"groups": ["admins", "debuggers"]}));
    let unapproved = grant(&json!({"id": "g2", "approvedBy": null}));
    let debuggers = grant(&json!({"id": "g3", "groups": ["debuggers"], "approvedBy": null}));
    let (table, refused) = Table::new(&read(&[both, unapproved, debuggers]), &policy);
    assert_eq!(
        refused,
        [("g1".to_owned(), Objection::Groups), ("g2".to_owned(), Objection::Unapproved)]
    );
    let own = groups(&["dev"]);
    let jane = Person { user: "jane", issuer: ISSUER, subject: "1", groups: &own, meets: &[] };
    let (lent, _) = table.lent(&policy, jane, std::time::Duration::from_secs(NOW));
    assert_eq!(lent.unwrap().groups, ["debuggers"]);
}

#[test]
fn several_grants_add_up_and_the_first_end_counts() {
    let policy = policy(&json!([rule(&json!({}))]));
    let short = json!({"id": "g1", "until": "2026-11-29T20:10:00Z"});
    let long = json!({"id": "g2", "until": "2026-11-29T20:20:00Z"});
    let other = json!({"id": "g3", "groups": ["debuggers"], "until": "2026-11-29T20:15:00Z"});
    let lent = |grants: &[&Value], own: &[&str]| {
        let grants: Vec<_> = grants.iter().map(|fields| grant(fields)).collect();
        let own = groups(own);
        let jane = Person { user: "jane", issuer: ISSUER, subject: "1", groups: &own, meets: &[] };
        let (table, refused) = Table::new(&read(&grants), &policy);
        assert!(refused.is_empty());
        table.lent(&policy, jane, std::time::Duration::from_secs(NOW)).0
    };
    let found = lent(&[&short, &long, &other], &["dev"]).unwrap();
    assert_eq!(found.groups, ["admins", "debuggers"]);
    assert_eq!(found.loan.grants, ["g2", "g3"]);
    assert_eq!(found.loan.until.as_secs(), NOW + 900, "of admins the longer one counts");
    assert_eq!(
        found.record,
        "&grant=g2&grant-by=kim&lent=admins&grant=g3&grant-by=kim&lent=debuggers"
    );
    // What the token has anyway does not end with a grant.
    assert_eq!(lent(&[&short], &["dev", "admins"]), None);
    assert_eq!(lent(&[&short, &other], &["dev", "admins"]).unwrap().groups, ["debuggers"]);
}

#[test]
fn asking_and_agreeing_obey_the_same_rules() {
    let policy = policy(&json!([
        rule(&json!({})),
        rule(&json!({"name": "b", "groups": ["debuggers"], "requiresApproval": false}))
    ]));
    let entry = |fields: Value| {
        let mut asked = json!({"state": "Requested", "approvedBy": null});
        merge(&mut asked, &fields);
        read(&[grant(&asked)]).grants.remove(0)
    };
    let (dev, leads, none) = (groups(&["dev"]), groups(&["leads"]), groups(&[]));
    let jane = |groups| Person { user: "jane", issuer: ISSUER, subject: "1", groups, meets: &[] };
    let kim = |groups| Person { user: "kim", issuer: ISSUER, subject: "2", groups, meets: &[] };
    let admins = entry(json!({}));
    assert_eq!(policy.ask(&admins, jane(&dev)), Ok(true));
    assert_eq!(policy.ask(&admins, jane(&none)), Err(Objection::User));
    assert_eq!(policy.ask(&entry(json!({"groups": ["debuggers"]})), jane(&dev)), Ok(false));
    assert_eq!(policy.ask(&entry(json!({"groups": ["x"]})), jane(&dev)), Err(Objection::Groups));
    assert_eq!(policy.approve(&admins, kim(&leads)), Ok(()));
    assert_eq!(policy.approve(&admins, kim(&dev)), Err(Objection::Approver));
    assert_eq!(policy.approve(&admins, jane(&leads)), Err(Objection::Own));
    let names =
        |groups| policy.offers(jane(groups)).map(|rule| rule.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&dev), ["a", "b"]);
    assert!(names(&none).is_empty());
}

#[test]
fn documents_are_strict_and_every_error_names_its_place() {
    let with = |fields: &Value| document(&[grant(fields)]);
    let twice = document(&[grant(&json!({})), grant(&json!({}))]);
    for (text, want) in [
        (document(&[]), None),
        (with(&json!({})), None),
        (with(&json!({"reason": "INC-1: déjà vu"})), None),
        (twice, Some("grants[1].id: Invalid value: must be no other grant's")),
        (with(&json!({"id": "a b"})), Some("grants[0].id: ")),
        (with(&json!({"id": ""})), Some("grants[0].id: ")),
        (with(&json!({"state": "approved"})), Some("grants[0]: state: must be Requested")),
        (with(&json!({"subject": ""})), Some("grants[0].subject: ")),
        (with(&json!({"user": " jane"})), Some("grants[0].user: ")),
        (with(&json!({"groups": ["a\nb"]})), Some("grants[0].groups: ")),
        (with(&json!({"groups": vec!["a"; 33]})), Some("grants[0].groups: ")),
        (with(&json!({"reason": "a\u{7}"})), Some("grants[0].reason: ")),
        (with(&json!({"reason": "a".repeat(1025)})), Some("grants[0].reason: ")),
        (with(&json!({"approvedBy": {"subject": ""}})), Some("grants[0].approvedBy.subject: ")),
        (with(&json!({"from": "tomorrow"})), Some("grants[0]: from: must be a time of RFC 3339")),
        (with(&json!({"from": 5})), Some("grants[0]: from: must be a text")),
        (with(&json!({"by": "kim"})), Some("grants[0]: unknown field \"by\"")),
        (with(&json!({"approvedBy": {"uid": "1"}})), Some("grants[0]: unknown field \"uid\"")),
        (document(&[]).replace(KIND, "Grant"), Some("kind: Invalid value: \"Grant\"")),
        (document(&[]).replace("v1alpha1", "v1"), Some("apiVersion: Invalid value")),
        ("[".to_owned(), Some("Grants: ")),
        (" ".repeat(MOST_BYTES + 1), Some("prune what is over")),
    ] {
        match (Grants::parse(text.as_bytes()), want) {
            (Ok(_), None) => {}
            (Err(got), Some(want)) => assert!(got.to_string().contains(want), "{got} / {want}"),
            (got, want) => panic!("{text}: {got:?} / {want:?}"),
        }
    }
    let text = with(&json!({}));
    let again = serde_json::to_value(Grants::parse(text.as_bytes()).unwrap()).unwrap();
    assert_eq!(again, serde_json::from_str::<Value>(&text).unwrap());
}
