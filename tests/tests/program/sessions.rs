//! A logout at the portal: the tokens that it made in that login end, and what runs with them.

use std::{fs, process::Command, time::Instant};

use sandbox::{Kubectl, realm};
use serde_json::{Value, json};

use crate::{
    harness::{LIMIT, Rig, until},
    revocations::{Document, NEW, RUNNING},
};

/// The portal's name. It resolves on any machine.
pub const HOST: &str = "localhost";
const AUDIENCE: &str = "github.com/planetlabs/kubehook";
const SECRET: &str = "the-secret-of-the-portal-whose-tokens-end";
const WATCH: &str = "/api/v1/namespaces?watch=true";

/// A gateway with a portal whose tokens it takes, and which writes down what has ended in a file of this name.
fn rig(revocations: &str) -> Rig {
    Rig::with(
        |files| {
            let write = |name: &str, text: &str| files.write(name, text);
            let secret = write("shared-secret", SECRET);
            let mut gateway = realm::configuration();
            gateway["sharedSecret"] = json!({"audience": AUDIENCE, "secretFiles": [secret]});
            let gateway = write("gateway.json", &gateway.to_string());
            let portal = json!({
                "apiVersion": "gateway.kube-oidc.dev/v1alpha1", "kind": "PortalConfiguration",
                "host": HOST, "audience": AUDIENCE, "secretFile": [secret],
            });
            let portal = write("portal.json", &portal.to_string());
            vec![
                format!("--authentication-config={}/authentication.yaml", files.config.display()),
                format!("--gateway-config={}", gateway.display()),
                format!("--portal-config={}", portal.display()),
                revocations.to_owned(),
            ]
        },
        false,
    )
}

/// What the portal answers: a status, and a document.
pub fn portal(rig: &Rig, token: &str, path: &str, body: &Value) -> (u16, Value) {
    let port = rig.address().port();
    let mut command = Command::new("curl");
    command.args(["--silent", "--insecure", "--http1.1", "--max-time", "60"]);
    command.args(["--write-out", "\n%{http_code}", "-H", "content-type: application/json"]);
    command.arg("-H").arg(format!("authorization: Bearer {token}"));
    command.args(["-d", &body.to_string()]).arg(format!("https://{HOST}:{port}{path}"));
    let text = String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap_or_default();
    (status.parse().unwrap_or(0), serde_json::from_str(body).unwrap_or(Value::Null))
}

/// kubectl with a token that the portal makes for this login.
fn client(rig: &Rig, login: &str) -> Kubectl {
    let (status, answer) = portal(rig, login, "/generate", &json!({"lifetime": "10m"}));
    assert_eq!(status, 200, "{answer}\n{}", rig.log());
    let kubectl = rig.kubectl(answer["token"].as_str().unwrap());
    kubectl.must(["get", "namespaces"], "").unwrap();
    kubectl
}

#[test]
fn a_logout_at_the_portal_ends_the_tokens_of_that_login_and_no_others() {
    let document = Document::new();
    let rig = rig(&document.flag());
    let [login, other] = ["a", "b"].map(|jti| rig.token().claim("jti", jti).mint());
    let (first, second, others) =
        (client(&rig, &login), client(&rig, &login), client(&rig, &other));
    let mut watch = second.start(["get", "--raw", WATCH]).unwrap();
    watch.line(LIMIT, |line| line.contains("ADDED")).unwrap();
    let (status, answer) = portal(&rig, &login, "/logout", &json!({}));
    let ended = Instant::now();
    assert_eq!((status, &answer), (200, &json!({"tokens": "ended"})), "{}", rig.log());
    for kubectl in [&first, &second] {
        until("it is refused", || {
            let output = kubectl.run(["get", "namespaces"]).unwrap();
            assert!(output.success() || output.stderr.contains("log in again"), "{output:?}");
            (!output.success()).then_some(())
        });
        assert!(ended.elapsed() < NEW, "{:?}", ended.elapsed());
    }
    watch.wait(LIMIT).unwrap();
    assert!(ended.elapsed() < RUNNING, "{:?}", ended.elapsed());
    // Another login's go on. What is made with the ended one later is dead, too: the page's user is gone.
    others.must(["get", "namespaces"], "").unwrap();
    let written = document.say(&["revocations", "list"]);
    assert_eq!(written.lines().count(), 1, "{written}");
    assert!(written.contains("logged out at the portal"), "{written}");
    assert!(
        rig.log().contains("\\\"event\\\":\\\"logout\\\"")
            || rig.log().contains("\"event\":\"logout\""),
        "{}",
        rig.log()
    );
}

/// An API server that asks the portal does not ask the gateway.
#[test]
fn the_portals_webhook_refuses_a_token_whose_user_is_revoked() {
    let document = Document::new();
    let rig = rig(&document.flag());
    let login = rig.token().mint();
    let (_, answer) = portal(&rig, &login, "/generate", &json!({"lifetime": "10m"}));
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": answer["token"]},
    });
    let (status, said) = portal(&rig, &login, "/authenticate", &review);
    assert_eq!((status, &said["status"]["authenticated"]), (200, &json!(true)), "{said}");
    let user = said["status"]["user"]["username"].as_str().unwrap();
    document.say(&["revoke", "--user", user]);
    let revoked = Instant::now();
    until("it is refused", || {
        let (status, said) = portal(&rig, &login, "/authenticate", &review);
        assert!(status == 200 || status == 403, "{status} {said}");
        (status == 403).then_some(())
    });
    assert!(revoked.elapsed() < NEW, "{:?}", revoked.elapsed());
    // And gets no other one, once the filter knows it.
    until("it gets no token", || {
        let (status, answer) = portal(&rig, &login, "/generate", &json!({"lifetime": "10m"}));
        assert!(matches!(status, 200 | 401 | 403 | 429), "{status} {answer}");
        (status == 401 && answer["token"].is_null()).then_some(())
    });
    assert!(revoked.elapsed() < NEW, "{:?}", revoked.elapsed());
}

/// A review's token goes to the gateway's filter as a header, and nobody signs in to have one reviewed. Behind a line end there could be a
/// request of somebody else's choice, whose answer another caller would get.
#[test]
fn a_token_with_a_line_end_is_no_request_of_its_own() {
    let document = Document::new();
    let rig = rig(&document.flag());
    let login = rig.token().mint();
    let review = |token: &str| {
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token},
        });
        portal(&rig, "", "/authenticate", &review)
    };
    assert_eq!(review(&login).0, 200, "{}", rig.log());
    let second = format!(
        "\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {login}\r\n\r\n"
    );
    for behind in ["\r\nx-a: b", "\nx-a: b", "\r", "\0", " x", "\u{e9}", &second] {
        let (status, said) = review(&format!("{login}{behind}"));
        assert_eq!(status, 403, "{behind:?}: {said}");
    }
}

/// The document is broken, so that nothing can be written down: whoever logs out is told, the log says why, and the tokens go on.
#[test]
fn a_logout_that_cannot_be_written_down_says_so() {
    let document = Document::new();
    let rig = rig(&document.flag());
    let login = rig.token().mint();
    let kubectl = client(&rig, &login);
    fs::write(document.path(), "kind: spoiled").unwrap();
    let (status, answer) = portal(&rig, &login, "/logout", &json!({}));
    assert_eq!(status, 503, "{answer}");
    assert!(
        answer["error"].as_str().is_some_and(|it| it.contains("cannot be reached")),
        "{answer}"
    );
    rig.wait_for_log("its tokens go on until they expire");
    kubectl.must(["get", "namespaces"], "").unwrap();
}

/// Where nothing is revoked there is nothing that a logout could end, and the page is told so.
#[test]
fn without_revocations_the_portal_promises_nothing() {
    let rig = rig("--drain-duration=6s");
    let login = rig.token().mint();
    client(&rig, &login);
    assert_eq!(portal(&rig, &login, "/logout", &json!({})).0, 404);
}
