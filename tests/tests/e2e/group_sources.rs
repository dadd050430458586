//! Group sources: directories in the forms of real products, asked with a credential that Envoy alone has.

mod faults;
mod replicas;
mod storms;

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use oidc_provider::{
    Answer as Bad, ClientConfig, Config, Endpoint, Issuer, Misbehaviour, Preset, Provider, User,
};
use sandbox::{Credential, Gateway, realm};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    harness::{LIMIT, gateway, until},
    target,
    wire::{Answer, Ask, Version},
};

const SECRET: &str = "a-secret-of-the-gateways-client";
/// A user of more groups than Entra ID puts into a token.
const MANY: usize = 1_000;

/// A gateway whose users' groups are in the provider's directory. The gateway ends first.
struct Rig {
    gateway: Gateway,
    provider: Provider,
    secret: PathBuf,
    source: Value,
    _folder: TempDir,
}

impl Rig {
    fn start(provider_s: &str, more: &Value, configuration: &Value) -> Self {
        Self::with_lifetime(600, provider_s, more, configuration)
    }

    /// The same where the tokens that Envoy gets for the directory live so many seconds.
    fn with_lifetime(lifetime: u64, provider_s: &str, more: &Value, configuration: &Value) -> Self {
        let issuer = Preset::KubernetesSandbox.issuer();
        let issuer = issuer.client(ClientConfig::confidential("gateway", SECRET));
        let provider = Provider::start(Config::of(issuer)).unwrap();
        let issuer = provider.issuer();
        issuer.set_token_lifetime(Duration::from_secs(lifetime));
        let mut many = User::new("many", "many-password").subject("many-sub");
        many.groups = (0..MANY - 1).map(|n| format!("team-{n:04}-{}", "x".repeat(26))).collect();
        many.groups.push("system:viewers".to_owned());
        many.claims.insert("oid".to_owned(), json!("11111111-2222-3333-4444-555555555555"));
        issuer.put_user(many);
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        fs::write(&secret, SECRET).unwrap();
        let mut source = json!({
            "name": "directory", "issuer": issuer.url(), "provider": provider_s,
            "url": issuer.endpoint(Endpoint::Directory), "value": "names",
            "credential": {"oauth2": {
                "tokenEndpoint": issuer.endpoint(Endpoint::Token), "clientID": "gateway",
                "clientSecretFile": secret, "secretInBody": true,
            }},
        });
        extend(&mut source, more);
        let mut whole = realm::configuration();
        whole["groupSources"] = json!([&source]);
        extend(&mut whole, configuration);
        let gateway = gateway(realm::authentication_of(&provider))
            .workers(target::workers())
            .configuration(whole)
            .start()
            .unwrap();
        let rig = Self { gateway, provider, secret, source, _folder: folder };
        // Envoy's first token for the directory.
        assert!(rig.issuer().wait_for_requests(Endpoint::Token, 1, LIMIT), "no token asked for");
        rig
    }

    fn issuer(&self) -> Issuer {
        self.provider.issuer()
    }

    /// A token without groups.
    fn token(&self, user: &str) -> String {
        self.issuer().token(user, realm::CLIENT).without("groups").expires_in(3600).mint()
    }

    /// The token of a user whom nobody has asked about.
    fn newcomer(&self) -> String {
        self.token(&self.newcomer_named())
    }

    /// The name of such a user, which is its id in the directory, too.
    fn newcomer_named(&self) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("user-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut user = User::new(&name, "x");
        user.groups = vec!["system:viewers".to_owned()];
        user.claims.insert("oid".to_owned(), json!(name));
        self.issuer().put_user(user);
        name
    }

    fn ask(&self, token: &str) -> Answer {
        let ask = Ask::new("GET", "/api/v1/namespaces/default/pods").bearer(token);
        ask.send(&self.gateway, Version::H1).unwrap()
    }

    fn asked(&self) -> u64 {
        self.issuer().requests(Endpoint::Directory)
    }

    /// What the gateway has counted, of all whose name has these words.
    fn counted(&self, words: [&str; 2]) -> u64 {
        let stats = self.gateway.stats().unwrap();
        let fits = |(name, _): &(&str, u64)| words.iter().all(|word| name.contains(word));
        stats.iter().filter(fits).map(|(_, value)| value).sum()
    }

    /// What the access log says of an answer.
    fn logged(&self, answer: &Answer) -> String {
        let id = answer.header("audit-id").unwrap_or_default();
        assert!(!id.is_empty(), "{answer:?}");
        until("the access log has it", || {
            self.gateway.access_lines().into_iter().find(|line| line.contains(id))
        })
    }

    /// Waits until a user's request passes.
    fn passes(&self, token: &str) {
        until("a user whose groups are known", || (self.ask(token).status == 200).then_some(()));
    }
}

fn extend(value: &mut Value, more: &Value) {
    value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
}

/// The token says that there are more groups than it holds, and names an address for them that nobody is to follow.
fn overage(rig: &Rig, user: &str) -> String {
    let token = rig.issuer().token(user, realm::CLIENT).without("groups").expires_in(3600);
    token
        .claim("_claim_names", json!({"groups": "src1"}))
        .claim("_claim_sources", json!({"src1": {"endpoint": "https://127.0.0.1:1/evil"}}))
        .mint()
}

#[test]
fn an_entra_user_of_a_thousand_groups_gets_pods_as_one_of_them() {
    let more = json!({"when": "Overflow", "only": ["system:viewers", "team-*"]});
    let rig = Rig::start("entra", &more, &json!({}));
    let token = overage(&rig, "many");
    let kubectl = rig.gateway.kubectl(Credential::Token(token.clone())).unwrap();
    rig.passes(&token);
    let pods = kubectl.run(["get", "pods"]).unwrap();
    assert!(pods.success(), "{pods:?}");
    let who = kubectl.run(["auth", "whoami", "-o", "json"]).unwrap();
    let who: Value = serde_json::from_str(&who.stdout).unwrap();
    let groups = who["status"]["userInfo"]["groups"].as_array().unwrap();
    // All of them, and the one that kube-apiserver adds; a role is no group.
    assert_eq!(groups.len(), MANY + 1, "{}", groups.len());
    assert!(groups.contains(&json!("system:viewers")) && !groups.contains(&json!("Role")));
    // Two pages, and no more for further requests and further tokens.
    let asked = rig.asked();
    assert_eq!(asked, 2, "each user is asked about once");
    for _ in 0..5 {
        assert_eq!(rig.ask(&overage(&rig, "many")).status, 200);
    }
    assert_eq!(rig.asked(), asked);
    let log = fs::read_to_string(rig.gateway.access_log()).unwrap();
    assert!(log.contains("&groups-source=directory&groups-at="), "{log}");
    // Neither Envoy's configuration nor any log has the secret, or a token of the client's.
    let dump = rig.gateway.envoy_admin().get("/config_dump?include_eds").unwrap();
    let filters = fs::read_to_string(rig.gateway.log()).unwrap();
    for text in [&dump.body, &log, &filters] {
        assert!(!text.contains(SECRET));
    }
}

/// Okta's and Google's forms have other pages; Keycloak's has none.
#[test]
fn each_product_s_pages_are_followed() {
    for (product, more, pages) in [
        ("okta", json!({}), 5),
        (
            "google",
            json!({"path": "/admin/directory/v1/groups?userKey=${claims.sub}&maxResults=200"}),
            5,
        ),
        (
            "keycloak",
            json!({"groups": "answer.map(g, g.name)", "path": "/admin/realms/k8s/users/${claims.sub}/groups"}),
            1,
        ),
        (
            "http",
            json!({
                "path": "/v1.0/users/${claims.oid}/getMemberObjects", "body": "{\"securityEnabledOnly\": false}",
                "groups": "answer.value.filter(g, g == 'id-system:viewers').map(g, g.substring(3))",
            }),
            1,
        ),
    ] {
        let rig = Rig::start(product, &more, &json!({}));
        let token = rig.token("many");
        rig.passes(&token);
        let kubectl = rig.gateway.kubectl(Credential::Token(token)).unwrap();
        let who = kubectl.run(["auth", "whoami", "-o", "json"]).unwrap();
        assert!(who.stdout.contains("system:viewers"), "{product}: {who:?}");
        assert_eq!(rig.asked(), pages, "{product}");
    }
}

/// Whatever a directory answers, nobody comes in without groups or with wrong ones; and once it is well again, all is.
#[test]
fn a_sick_directory_lets_nobody_in_without_groups() {
    let configuration = json!({"limits": {"waitSeconds": 2}});
    let rig =
        Rig::start("entra", &json!({"when": "ClaimAbsent", "timeoutSeconds": 3}), &configuration);
    rig.passes(&rig.token("many"));
    let answer = Misbehaviour::answer;
    for bad in [
        answer(Bad::Status(500)),
        answer(Bad::Status(403)),
        answer(Bad::Html),
        answer(Bad::Truncated),
        answer(Bad::HugeMib(3)),
        answer(Bad::Redirect("https://127.0.0.1:1/".to_owned())),
        answer(Bad::Close),
        answer(Bad::Hang),
        Misbehaviour::delay(Duration::from_secs(5)),
        Misbehaviour {
            headers: vec![("retry-after".to_owned(), "2".to_owned())],
            ..answer(Bad::Status(429))
        },
    ] {
        let token = rig.newcomer();
        rig.issuer().misbehave(Endpoint::Directory, bad.clone()).unwrap();
        let begun = Instant::now();
        let refused = rig.ask(&token);
        assert_eq!(refused.status, 503, "{bad:?}: {refused:?}");
        assert!(refused.header("retry-after").is_some(), "{bad:?}: {refused:?}");
        assert!(refused.body.contains("the groups of this user"), "{bad:?}: {refused:?}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{bad:?}: {:?}", begun.elapsed());
        // Who is known goes on.
        assert_eq!(rig.ask(&rig.token("many")).status, 200, "{bad:?}");
        rig.issuer().behave();
        rig.passes(&token);
    }
}

/// The client's secret has expired; the new one is written into its file, and counts without a restart.
#[test]
fn an_expired_secret_is_replaced_in_its_file() {
    let configuration = json!({"limits": {"waitSeconds": 2}});
    let rig = Rig::with_lifetime(10, "entra", &json!({"when": "ClaimAbsent"}), &configuration);
    let token = rig.token("many");
    rig.passes(&token);
    // Envoy's tokens live for seconds, and the next one needs the new secret.
    let renewed = "the-next-secret";
    rig.issuer().put_client(ClientConfig::confidential("gateway", renewed));
    let refused = || (rig.ask(&rig.newcomer()).status == 503).then_some(());
    until("the old secret's last token has expired", refused);
    let fresh = rig.secret.with_extension("new");
    fs::write(&fresh, renewed).unwrap();
    fs::rename(&fresh, &rig.secret).unwrap();
    rig.passes(&rig.newcomer());
}

/// A directory that is down: who is known goes on for the time that the configuration says.
#[test]
fn an_outage_touches_only_users_who_were_not_known() {
    let rig = Rig::start(
        "entra",
        &json!({"when": "ClaimAbsent", "onFailure": {"lastAnswerSeconds": 600}}),
        &json!({"groupCache": {"lifetimeSeconds": 5}, "limits": {"waitSeconds": 2}}),
    );
    let token = rig.token("many");
    rig.passes(&token);
    rig.issuer().misbehave(Endpoint::Directory, Misbehaviour::answer(Bad::Close)).unwrap();
    let end = Instant::now() + Duration::from_secs(12);
    while Instant::now() < end {
        assert_eq!(rig.ask(&token).status, 200, "known, whatever becomes of the directory");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(rig.ask(&rig.newcomer()).status, 503);
    rig.issuer().behave();
    rig.passes(&rig.newcomer());
}

/// Claims that would lead elsewhere lead nowhere.
#[test]
fn a_steering_claim_asks_nothing() {
    let rig = Rig::start("entra", &json!({"when": "ClaimAbsent"}), &json!({}));
    rig.passes(&rig.token("many"));
    let asked = rig.asked();
    let steering =
        ["../../admin", "..", "a/b", "a\\b", "%2e%2e", "a\r\nx: y", "", "\u{0}", "a?b", "a;b"];
    for oid in steering {
        let token = rig.issuer().token("many", realm::CLIENT).without("groups").claim("oid", oid);
        let answer = rig.ask(&token.mint());
        assert_eq!(answer.status, 401, "{oid:?}: {answer:?}");
    }
    assert_eq!(rig.asked(), asked);
    // Another user's name in place of one's own finds that user's groups only if the issuer signs it: the claim is the issuer's word.
    let token =
        rig.issuer().token("many", realm::CLIENT).without("groups").claim("oid", "nobody&$top=1#");
    assert_eq!(rig.ask(&token.mint()).status, 503, "the directory knows no such user");
}
