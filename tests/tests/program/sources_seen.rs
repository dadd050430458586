//! Group sources, seen: what `review --groups` and `doctor` say of them, well and sick.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use oidc_provider::{Answer, ClientConfig, Config, Endpoint, Misbehaviour, Preset, Provider, User};
use sandbox::realm;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{binary, cluster, token};

const SECRET: &str = "a-secret-of-the-gateways-client";
/// More than a page of any product but Entra's.
const MANY: usize = 450;

/// A provider whose directory knows a user, and a gateway's documents.
struct Desk {
    provider: Provider,
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        let issuer = Preset::KubernetesSandbox.issuer();
        let issuer = issuer.client(ClientConfig::confidential("gateway", SECRET));
        let provider = Provider::start(Config::of(issuer)).unwrap();
        let mut user = User::new("many", "x").subject("many-sub");
        user.groups = (0..MANY).map(|n| format!("team-{n:03}")).collect();
        user.claims.insert("oid".to_owned(), json!("0000-oid"));
        provider.issuer().put_user(user);
        let folder = tempfile::tempdir().unwrap();
        let authentication = realm::authentication_of(&provider).to_string();
        fs::write(folder.path().join("authentication.yaml"), authentication).unwrap();
        fs::write(folder.path().join("secret"), SECRET).unwrap();
        Self { provider, folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Writes the gateway's document with one source.
    fn source(&self, product: &str, more: &Value) {
        let issuer = self.provider.issuer();
        let mut source = json!({
            "name": "directory", "issuer": issuer.url(), "provider": product,
            "url": issuer.endpoint(Endpoint::Directory), "timeoutSeconds": 3,
            "credential": {"oauth2": {
                "tokenEndpoint": issuer.endpoint(Endpoint::Token), "clientID": "gateway",
                "clientSecretFile": self.path("secret"), "secretInBody": true,
            }},
        });
        source.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut whole = realm::configuration();
        whole["groupSources"] = json!([source]);
        fs::write(self.path("gateway.yaml"), whole.to_string()).unwrap();
    }

    fn token(&self) -> String {
        self.provider.issuer().token("many", realm::CLIENT).without("groups").mint()
    }

    /// What `review --groups` says: the review's status, and the notes about groups.
    fn review(&self, token: &str) -> (Value, Vec<String>) {
        let flags = [
            format!("--authentication-config={}", self.path("authentication.yaml")),
            format!("--gateway-config={}", self.path("gateway.yaml")),
            "--groups".to_owned(),
            "--output=json".to_owned(),
            "--token-file=-".to_owned(),
        ];
        let text = run("review", &flags, token, self.folder.path());
        let document: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
        assert!(!text.contains(SECRET) && !text.contains("Bearer "), "{text}");
        let notes = document["notes"].as_array().unwrap();
        let notes = notes.iter().filter_map(Value::as_str);
        let notes = notes.filter_map(|note| note.strip_prefix("groups: directory: "));
        (document["review"]["status"].clone(), notes.map(str::to_owned).collect())
    }
}

fn run(command: &str, flags: &[String], input: &str, folder: &Path) -> String {
    let mut child = Command::new(binary())
        .arg(command)
        .args(flags)
        .current_dir(folder)
        .env_remove("KUBECONFIG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

/// Each product's question, pages and groups, in the order in which they happen.
#[test]
fn each_product_s_lookup_is_shown_step_by_step() {
    let desk = Desk::new();
    let base = desk.provider.issuer().endpoint(Endpoint::Directory);
    for (product, more, path, pages, shown) in [
        (
            "entra",
            json!({}),
            "/v1.0/users/0000-oid/transitiveMemberOf?$select=id,displayName&$top=999",
            1,
            "team-000",
        ),
        (
            "okta",
            json!({"value": "ids"}),
            "/api/v1/users/many-sub/groups?limit=200",
            3,
            "id-team-000",
        ),
        (
            "google",
            json!({}),
            "/admin/directory/v1/groups?userKey=many-sub&maxResults=200",
            3,
            "team-000",
        ),
        (
            "keycloak",
            json!({}),
            "/admin/realms/kubernetes-sandbox/users/many-sub/groups",
            1,
            "/team-000",
        ),
    ] {
        desk.source(product, &more);
        let (status, notes) = desk.review(&desk.token());
        assert_eq!(status["authenticated"], true, "{product}: {status} {notes:#?}");
        let groups = status["user"]["groups"].as_array().unwrap();
        assert_eq!((groups.len(), groups[0].as_str().unwrap()), (MANY, shown), "{product}");
        assert!(notes[0].starts_with("applies: the token has no claim \"groups\""), "{notes:#?}");
        assert!(notes[1].contains("this program's own client") && notes[1].contains("Envoy's"));
        assert!(notes[2].starts_with("a token for client \"gateway\""), "{notes:#?}");
        assert!(notes[2].contains(": a token for "), "{notes:#?}");
        let asked: Vec<_> = notes.iter().filter(|note| note.starts_with("GET ")).collect();
        assert_eq!(asked.len(), pages, "{product}: {notes:#?}");
        assert!(asked[0].starts_with(&format!("GET {base}{path}: HTTP 200 in ")), "{notes:#?}");
        let more = asked.iter().filter(|note| note.ends_with(", and there is another page"));
        assert_eq!(more.count(), pages - 1, "{notes:#?}");
        let answered = format!("answered {MANY}: [\"{shown}\", ");
        assert!(notes.iter().any(|note| note.starts_with(&answered)), "{notes:#?}");
        assert!(notes.iter().any(|note| note.contains(" and 430 more")), "{notes:#?}");
    }
}

/// What is left out is seen, and so is a token for which nobody is asked.
#[test]
fn what_counts_and_when_nobody_is_asked_is_said() {
    let desk = Desk::new();
    desk.source("entra", &json!({"when": "Overflow", "only": ["team-00*"]}));
    let asked = || desk.provider.issuer().requests(Endpoint::Directory);
    let with_groups =
        desk.provider.issuer().token("many", realm::CLIENT).claim("groups", ["a"].as_slice());
    let (status, notes) = desk.review(&with_groups.mint());
    assert_eq!(status["user"]["groups"], json!(["a"]));
    assert_eq!(notes, ["does not apply: the token has the claim \"groups\""]);
    let (status, notes) = desk.review(&desk.token());
    assert!(status["user"].get("groups").is_none(), "{status}");
    assert!(notes[0].starts_with("does not apply: neither _claim_names"), "{notes:?}");
    assert_eq!(asked(), 0);
    let overflow = desk.provider.issuer().token("many", realm::CLIENT).without("groups");
    let (status, notes) = desk.review(&overflow.claim("hasgroups", true).mint());
    assert_eq!(status["user"]["groups"].as_array().unwrap().len(), 10, "{notes:#?}");
    assert!(notes.iter().any(|note| note.starts_with("of these count (only) 10: [")), "{notes:#?}");
    // Claims that lead elsewhere ask nothing.
    let before = asked();
    let odd = desk.provider.issuer().token("many", realm::CLIENT).without("groups");
    let odd = odd.claim("hasgroups", true).claim("oid", "../admin").mint();
    let (status, _) = desk.review(&odd);
    assert!(status["error"].as_str().unwrap().contains("claims.oid"), "{status}");
    assert_eq!(asked(), before);
}

#[test]
fn a_sick_directory_s_lookup_says_what_is_wrong() {
    let desk = Desk::new();
    desk.source("okta", &json!({}));
    let limited = Misbehaviour {
        headers: vec![
            ("retry-after".to_owned(), "17".to_owned()),
            ("x-rate-limit-remaining".to_owned(), "0".to_owned()),
        ],
        ..Misbehaviour::answer(Answer::Status(429))
    };
    for (endpoint, bad, wants) in [
        (
            Endpoint::Directory,
            limited,
            &["HTTP 429", "retry-after: 17", "x-rate-limit-remaining: 0"][..],
        ),
        (Endpoint::Directory, Misbehaviour::answer(Answer::Status(503)), &["HTTP 503"]),
        (Endpoint::Directory, Misbehaviour::answer(Answer::Html), &["HTTP 200", "is not JSON"]),
        (
            Endpoint::Directory,
            Misbehaviour::answer(Answer::Redirect("https://127.0.0.1:1/".to_owned())),
            &["redirects are not followed"],
        ),
        (Endpoint::Directory, Misbehaviour::answer(Answer::HugeMib(3)), &["bytes"]),
        (Endpoint::Directory, Misbehaviour::answer(Answer::Close), &["GET "]),
        (Endpoint::Directory, Misbehaviour::answer(Answer::Hang), &["timeout"]),
        (
            Endpoint::Token,
            Misbehaviour::answer(Answer::Status(500)),
            &["a token for client", "HTTP 500"],
        ),
    ] {
        desk.provider.issuer().misbehave(endpoint, bad.clone()).unwrap();
        let (status, notes) = desk.review(&desk.token());
        assert_eq!(status["authenticated"], false, "{bad:?}");
        let error = status["error"].as_str().unwrap();
        assert!(error.contains("503 unless it has an earlier answer"), "{bad:?}: {error}");
        let last = notes.last().unwrap();
        for want in wants {
            assert!(last.contains(want), "{bad:?} {want:?}: {notes:#?}");
        }
        desk.provider.issuer().behave();
    }
    fs::write(desk.path("secret"), "another").unwrap();
    let (status, notes) = desk.review(&desk.token());
    assert_eq!(status["authenticated"], false);
    assert!(notes.last().unwrap().contains("HTTP 401: invalid_client"), "{notes:#?}");
}

/// `doctor` asks each source, about nobody and about a token's user, and has a cure for what is wrong.
#[test]
fn the_doctor_asks_each_source_and_has_a_cure() {
    let desk = Desk::new();
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "clusters": [{"name": "a", "cluster": {"server": cluster().url(),
            "certificate-authority-data": base64(cluster().ca())}}],
        "users": [{"name": "a", "user": {"token": token()}}],
    });
    fs::write(desk.path("kubeconfig"), kubeconfig.to_string()).unwrap();
    let flags = [
        format!("--authentication-config={}", desk.path("authentication.yaml")),
        format!("--gateway-config={}", desk.path("gateway.yaml")),
        format!("--kubeconfig={}", desk.path("kubeconfig")),
        // No Envoy, and so no minute: the sources are asked by the program in any case.
        "--envoy-binary=/nonexistent".to_owned(),
        format!("--run-dir={}", desk.path("run")),
        "--output=json".to_owned(),
        "--token-file=-".to_owned(),
    ];
    let find = |result: &str, wants: &[&str]| {
        let text = run("doctor", &flags, &desk.token(), desk.folder.path());
        assert!(!text.contains(SECRET), "{text}");
        let all: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
        let found = all.as_array().unwrap().iter().find(|it| it["check"] == "group source");
        let found = found.unwrap_or_else(|| panic!("{all:#}"));
        assert_eq!(found["result"], result, "{all:#}");
        let whole = format!("{} → {}", found["message"], found["cure"]);
        for want in wants {
            assert!(whole.contains(want), "{want:?}: {whole}");
        }
        all
    };
    desk.source("okta", &json!({}));
    let limits = Misbehaviour {
        headers: vec![("x-rate-limit-remaining".to_owned(), "599".to_owned())],
        ..Misbehaviour::answer(Answer::Status(404))
    };
    desk.provider.issuer().misbehave(Endpoint::Directory, limits).unwrap();
    find("ok", &["answers and takes the credential", "x-rate-limit-remaining: 599"]);
    desk.provider.issuer().behave();
    let all = find("ok", &["answers and takes the credential", "knows no user who does not exist"]);
    // That of the token.
    let user = all.as_array().unwrap().iter().find(|it| it["check"] == "token").unwrap();
    assert!(user["message"].as_str().unwrap().contains("team-000"), "{user}");
    let step = all.as_array().unwrap().iter().filter(|it| it["check"] == "groups").count();
    assert!(step > 5, "{all:#}");

    for (bad, result, wants) in [
        (Answer::Status(403), "failed", &["may not read groups", "okta.groups.read"][..]),
        (Answer::Status(401), "failed", &["does not take the credential"]),
        (Answer::Status(429), "warning", &["requestsPerSecond"]),
        (Answer::Status(500), "failed", &["HTTP 500", "own log"]),
        (Answer::Html, "failed", &["is not JSON", "is url the API's"]),
    ] {
        desk.provider.issuer().misbehave(Endpoint::Directory, Misbehaviour::answer(bad)).unwrap();
        find(result, wants);
        desk.provider.issuer().behave();
    }
    desk.source("okta", &json!({"certificateAuthority": cluster().ca()}));
    find("failed", &["certificateAuthority of the source"]);
    desk.source("okta", &json!({}));
    fs::write(desk.path("secret"), "another").unwrap();
    find("failed", &["invalid_client", "write the one that counts into its file"]);
    fs::remove_file(desk.path("secret")).unwrap();
    find("failed", &["cannot read", "mount the file"]);
}

fn base64(text: &str) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.encode(text)
}
