//! Groups for a while, whole: asked for at the portal, agreed to by somebody else, used with kubectl, and over when they are over.

mod replicas;

use std::{
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use gateway_tests::person::plugin;
use oidc_provider::{Config, Preset, Provider, TokenBuilder};
use sandbox::realm;
use serde_json::{Value, json};

use crate::harness::{LIMIT, Rig, binary, cluster, until};

/// The portal's name. It resolves on any machine.
const HOST: &str = "localhost";
const SECRET: &str = "the-secret-of-the-portal-with-elevation";
/// A group with rights, which nobody has for good.
const GROUP: &str = "elevation-on-call";
/// How late what is written may be known.
const LIVE: Duration = Duration::from_secs(2);
/// How late a stream may end.
const ENDED: Duration = Duration::from_secs(5);

/// A gateway that lends a group for a minute at most, and its portal.
fn rig() -> Rig {
    rig_of(&json!({}), None)
}

/// The same with other fields of its rule, and another issuer.
fn rig_of(fields: &Value, other: Option<&Provider>) -> Rig {
    let rights =
        ["create", "clusterrolebinding", GROUP, "--clusterrole=view", &format!("--group={GROUP}")];
    // Each test of this file wants it.
    let _ = cluster().admin().run(rights);
    Rig::with(
        |files| {
            let write = |name: &str, text: &str| files.write(name, text);
            let mut gateway = realm::configuration();
            let mut rule = json!({
                "name": "on-call", "groups": [GROUP], "toGroups": ["developers"], "approvers": ["leads"],
                "maximumSeconds": 60,
            });
            rule.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            gateway["elevation"] = json!({"rules": [rule]});
            let issuers = fs::read(files.config.join("authentication.yaml")).unwrap();
            let mut issuers: Value = serde_json::from_slice(&issuers).unwrap();
            if let Some(other) = other {
                let jwt = realm::authentication_of(other)["jwt"][0].clone();
                issuers["jwt"].as_array_mut().unwrap().push(jwt);
            }
            let issuers = write("issuers.json", &issuers.to_string());
            let gateway = write("gateway.json", &gateway.to_string());
            let portal = json!({
                "apiVersion": "gateway.kube-oidc.dev/v1alpha1",
                "kind": "PortalConfiguration",
                "host": HOST,
                "secretFile": [write("shared-secret", SECRET)],
            });
            let portal = write("portal.json", &portal.to_string());
            vec![
                format!("--authentication-config={}", issuers.display()),
                format!("--gateway-config={}", gateway.display()),
                format!("--portal-config={}", portal.display()),
                format!("--grants={}", files.config.with_file_name("grants.json").display()),
            ]
        },
        false,
    )
}

fn developer(rig: &Rig) -> TokenBuilder {
    let token = rig.issuer().token("k8s-user2", realm::CLIENT);
    token.claim("groups", ["developers"].as_slice())
}

fn lead(rig: &Rig) -> TokenBuilder {
    let token = rig.issuer().token("k8s-user3", realm::CLIENT);
    token.claim("groups", ["leads"].as_slice())
}

/// What the portal answers: a status, and a document.
fn portal(rig: &Rig, token: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
    let port = rig.address().port();
    let mut command = Command::new("curl");
    command.args(["--silent", "--insecure", "--http1.1", "--max-time", "60"]);
    command.args(["--write-out", "\n%{http_code}"]);
    command.arg("-H").arg(format!("authorization: Bearer {token}"));
    if let Some(body) = body {
        command.args(["-H", "content-type: application/json", "-d", &body.to_string()]);
    }
    command.arg(format!("https://{HOST}:{port}/elevation/grants{path}"));
    let text = String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap_or_default();
    (status.parse().unwrap_or(0), serde_json::from_str(body).unwrap_or(Value::Null))
}

fn ask(rig: &Rig, token: &str, seconds: u64) -> String {
    let wish = json!({"groups": [GROUP], "seconds": seconds, "reason": "INC-1"});
    let (status, answer) = portal(rig, token, "", Some(&wish));
    assert_eq!(status, 200, "{answer}\n{}", rig.log());
    assert_eq!(answer["grant"]["state"], "Requested", "{answer}");
    answer["grant"]["id"].as_str().unwrap().to_owned()
}

fn step(rig: &Rig, token: &str, id: &str, word: &str) -> (u16, Value) {
    portal(rig, token, &format!("/{id}/{word}"), Some(&json!({})))
}

/// Whether kubectl may list pods.
fn may(rig: &Rig, token: &str) -> bool {
    rig.kubectl(token).run(["get", "pods"]).unwrap().code == Some(0)
}

/// Waits until kubectl may, or may not, whichever of the workers is asked. Each of them must know it in time.
fn becomes(rig: &Rig, token: &str, allowed: bool) {
    let start = Instant::now();
    let mut since = None;
    until("the grant counts", || {
        if may(rig, token) != allowed {
            since = None;
            return None;
        }
        let known = *since.get_or_insert_with(Instant::now);
        (known.elapsed() > LIVE).then_some(())
    });
    let known = since.unwrap() - start;
    // kubectl itself takes its time.
    assert!(known < LIVE + Duration::from_secs(2), "{known:?}");
}

#[test]
pub fn a_group_is_lent_for_a_while_and_what_began_with_it_ends_with_it() {
    let rig = rig();
    let (jane, kim) = (developer(&rig).mint(), lead(&rig).mint());
    assert!(!may(&rig, &jane) && !may(&rig, &kim));

    // Nobody agrees to its own, though in the right group.
    let id = ask(&rig, &jane, 20);
    let both = developer(&rig).claim("groups", ["developers", "leads"].as_slice()).mint();
    let (status, answer) = step(&rig, &both, &id, "approve");
    assert_eq!(status, 403, "{answer}");
    // Nor does somebody who may not.
    assert_eq!(step(&rig, &rig.token().mint(), &id, "approve").0, 404);
    assert!(!may(&rig, &jane));
    let (_, view) = portal(&rig, &kim, "", None);
    assert_eq!(view["requests"][0]["id"], id.as_str(), "{view}");

    let (status, answer) = step(&rig, &kim, &id, "approve");
    let begun = Instant::now();
    assert_eq!((status, &answer["grant"]["state"]), (200, &json!("Approved")), "{answer}");
    becomes(&rig, &jane, true);
    assert!(!may(&rig, &kim), "who agrees gets nothing");
    // A form that is sent twice makes nothing longer.
    assert_eq!(step(&rig, &kim, &id, "approve").0, 409);

    let kubectl = rig.kubectl(&*jane);
    let watch = ["get", "--raw", "/api/v1/namespaces/default/pods?watch=true"];
    let mut stream = kubectl.start(watch).unwrap();
    stream.wait(LIMIT).unwrap();
    let lasted = begun.elapsed();
    // Its times are whole seconds.
    assert!(lasted + Duration::from_secs(2) >= Duration::from_secs(20), "{lasted:?}");
    assert!(lasted < Duration::from_secs(20) + ENDED, "{lasted:?}");
    becomes(&rig, &jane, false);

    // The logs say who agreed.
    let log = rig.log();
    let by = format!("{}#k8s-user3", rig.issuer().url());
    let of_request = format!(r#""grants":[{{"by":"{by}","groups":["{GROUP}"],"id":"{id}"}}]"#);
    until("the request's line", || rig.log().contains(&of_request).then_some(()));
    for text in ["elevation.asked", "elevation.approved"] {
        assert!(log.contains(text), "no {text} in\n{log}");
    }
}

#[test]
pub fn what_is_ended_early_ends_what_began_with_it() {
    let rig = rig();
    let (jane, kim) = (developer(&rig).mint(), lead(&rig).mint());
    let id = ask(&rig, &jane, 60);
    assert_eq!(step(&rig, &kim, &id, "approve").0, 200);
    becomes(&rig, &jane, true);
    let kubectl = rig.kubectl(&*jane);
    let watch = ["get", "--raw", "/api/v1/namespaces/default/pods?watch=true"];
    let mut stream = kubectl.start(watch).unwrap();
    until("the watch is open", || {
        let log = rig.envoy_admin("/stats?filter=downstream_rq_active");
        log.contains("gateway.downstream_rq_active: 1").then_some(())
    });
    // An administrator's command, in the gateway's container.
    let mut end = Command::new(binary());
    end.args(["grant", "end", &id, "--run-dir"]).arg(rig.run_directory());
    let ended = Instant::now();
    let output = end.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    stream.wait(LIMIT).unwrap();
    assert!(ended.elapsed() < ENDED, "{:?}", ended.elapsed());
    becomes(&rig, &jane, false);
    let mut list = Command::new(binary());
    list.args(["grant", "list", "--run-dir"]).arg(rig.run_directory());
    let listed = String::from_utf8_lossy(&list.output().unwrap().stdout).into_owned();
    assert!(listed.contains(&format!("{id} Ended")), "{listed}");
}

/// Who can write the object lends no more by that than the configuration allows.
#[test]
pub fn what_is_written_into_the_object_beyond_the_rules_lends_nothing() {
    let rig = rig();
    let jane = developer(&rig).mint();
    let path: PathBuf = rig.run_directory().parent().unwrap().join("grants.json");
    let issuer = rig.issuer().url().to_owned();
    let claims = developer(&rig).claims();
    let grant = |groups: &[&str], until: &str, approver: &str| {
        json!({
            "id": "by-hand", "state": "Approved", "groups": groups,
            "user": format!("{issuer}#k8s-user2"), "issuer": issuer, "subject": claims["sub"],
            "requestedAt": "2020-01-01T00:00:00Z", "from": "2020-01-01T00:00:00Z", "until": until,
            "approvedBy": {"user": format!("{issuer}#{approver}"), "issuer": issuer, "subject": "x",
                "groups": ["leads"], "at": "2020-01-01T00:00:00Z"},
        })
    };
    let with = |fields: Value| {
        let mut grant = grant(&[GROUP], "2020-01-01T00:01:00Z", "kim");
        let by = fields["approvedBy"].as_object().cloned().unwrap_or_default();
        grant["approvedBy"].as_object_mut().unwrap().extend(by);
        if fields["approvedBy"].is_null() {
            grant.as_object_mut().unwrap().remove("approvedBy");
        }
        grant
    };
    let refused =
        |reason: &str| rig.metric(&format!("gateway_grants_refused_total{{reason=\"{reason}\"}}"));
    for (grant, reason) in [
        (grant(&["system:masters"], "2020-01-01T00:01:00Z", "kim"), "groups"),
        (grant(&[GROUP], "2099-01-01T00:00:00Z", "kim"), "length"),
        (grant(&[GROUP], "2020-01-01T00:01:00Z", "k8s-user2"), "own"),
        (grant(&[GROUP, "system:masters"], "2020-01-01T00:01:00Z", "kim"), "groups"),
        (grant(&["cluster-admins"], "2020-01-01T00:01:00Z", "kim"), "groups"),
        (grant(&[GROUP], "2019-01-01T00:01:00Z", "kim"), "length"),
        (with(json!({"approvedBy": {"subject": claims["sub"]}})), "own"),
        (with(json!({"approvedBy": {"groups": ["developers"]}})), "approver"),
        (with(json!({"approvedBy": {"issuer": "https://elsewhere.example"}})), "approver"),
        (with(json!({"approvedBy": {"at": "2030-01-01T00:00:00Z"}})), "dates"),
        (with(json!({"approvedBy": null})), "unapproved"),
    ] {
        let document = json!({
            "apiVersion": "gateway.kube-oidc.dev/v1alpha1", "kind": "Grants", "grants": [grant],
        });
        fs::write(path.with_extension("new"), document.to_string()).unwrap();
        let before = refused(reason);
        fs::rename(path.with_extension("new"), &path).unwrap();
        until(reason, || (refused(reason) > before).then_some(()));
        assert!(!may(&rig, &jane), "{reason}");
    }
}

/// One person with an account of the same name at each of two issuers, both of which may agree.
#[test]
pub fn a_namesake_at_another_issuer_agrees_to_nothing() {
    let other = Provider::start(Config::of(Preset::KubernetesSandbox.issuer())).unwrap();
    let there = |user: &str| {
        let token = other.issuer().token(user, realm::CLIENT);
        token.claim("groups", ["leads", "developers"].as_slice()).mint()
    };
    let rig = rig_of(&json!({}), Some(&other));
    let id = ask(&rig, &developer(&rig).mint(), 30);
    // By itself a rule lets nobody of another issuer agree.
    for (user, status) in [("k8s-user2", 403), ("k8s-user3", 404)] {
        assert_eq!(step(&rig, &there(user), &id, "approve").0, status, "{user}");
    }
    drop(rig);
    let rig = rig_of(&json!({"approverIssuers": [other.issuer().url()]}), Some(&other));
    let jane = developer(&rig).mint();
    let id = ask(&rig, &jane, 30);
    for user in ["k8s-user2", "K8S-User2"] {
        let token = other.issuer().token("k8s-user2", realm::CLIENT);
        let token = token.claim("preferred_username", user).claim("sub", "somebody else");
        let token = token.claim("groups", ["leads"].as_slice()).mint();
        let (status, answer) = step(&rig, &token, &id, "approve");
        // It has the group, and so it is told why not.
        assert_eq!(status, 403, "{user}: {answer}");
        assert!(answer["error"].as_str().unwrap().contains("of the same name"), "{answer}");
        assert_eq!(step(&rig, &token, &id, "end").0, 403, "{user}");
        let (_, view) = portal(&rig, &token, "", None);
        assert_eq!(view["requests"], json!([]), "{user}");
    }
    assert!(!may(&rig, &jane));
    // One of the asker's own issuer, whom the rule does not mean, and one whom it does.
    assert_eq!(step(&rig, &lead(&rig).mint(), &id, "approve").0, 404);
    assert_eq!(step(&rig, &there("k8s-user3"), &id, "approve").0, 200);
    becomes(&rig, &jane, true);
}

/// What the rule says of claims is looked at with each request, and not only when the group is asked for.
#[test]
pub fn an_expression_over_claims_says_to_whom() {
    let rig = rig_of(&json!({"toExpression": "claims.employment == 'permanent'"}), None);
    let of = |kind: &str| developer(&rig).claim("employment", kind).mint();
    let wish = json!({"groups": [GROUP], "seconds": 60});
    for token in [developer(&rig).mint(), of("contractor")] {
        let (status, answer) = portal(&rig, &token, "", Some(&wish));
        assert_eq!(status, 403, "{answer}");
        assert_eq!(portal(&rig, &token, "", None).1["offers"], json!([]));
    }
    let permanent = of("permanent");
    assert_eq!(portal(&rig, &permanent, "", None).1["offers"][0]["groups"], json!([GROUP]));
    let id = ask(&rig, &permanent, 60);
    assert_eq!(step(&rig, &lead(&rig).mint(), &id, "approve").0, 200);
    becomes(&rig, &permanent, true);
    // The same person by a token that does not say so.
    assert!(!may(&rig, &of("contractor")) && !may(&rig, &developer(&rig).mint()));
    assert!(may(&rig, &permanent));
}

/// The command goes the way of the page, and knows no other.
#[test]
pub fn kubectl_oidc_asks_and_agrees_as_the_page_does() {
    let rig = rig();
    let folder = rig.run_directory().parent().unwrap().to_owned();
    let ca = folder.join("portal-ca.pem");
    fs::write(&ca, rig.authority.pem()).unwrap();
    let elevate = |token: &str, words: &[&str]| {
        let file = folder.join("token");
        fs::write(&file, token).unwrap();
        let mut command = Command::new(plugin());
        command.arg("elevate").args(words).arg("--token-file").arg(file);
        command.arg(format!("--portal=https://{HOST}:{}", rig.address().port()));
        command.arg("--portal-certificate-authority").arg(&ca).arg("-o=json");
        let output = command.env("HOME", &folder).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (serde_json::from_slice::<Value>(&output.stdout).unwrap_or(Value::Null), said)
    };
    let (jane, kim) = (developer(&rig).mint(), lead(&rig).mint());
    let (answer, said) = elevate(&jane, &["--group", GROUP, "--for=30s", "--reason=INC-2"]);
    let id = answer["grant"]["id"].as_str().unwrap_or_else(|| panic!("{said}\n{}", rig.log()));
    let (_, said) = elevate(&jane, &["approve", id]);
    assert!(said.contains("403"), "{said}");
    let (answer, said) = elevate(&kim, &["list"]);
    assert_eq!(answer["requests"][0]["id"], id, "{said}");
    let (answer, said) = elevate(&kim, &["approve", id]);
    assert_eq!(answer["grant"]["state"], "Approved", "{said}");
    becomes(&rig, &jane, true);
    let (answer, said) = elevate(&jane, &["end", id]);
    assert_eq!(answer["grant"]["state"], "Ended", "{said}");
    becomes(&rig, &jane, false);
    let (_, said) = elevate(&jane, &["--group", "system:masters"]);
    assert!(said.contains("403"), "{said}");
}
