//! The tokens of the corpus (tests/conformance) to a real kube-apiserver by `--authentication-config`, and to the gateway in
//! front of it: whether a token is taken and the whole user must be what kube-authn says natively, in all three.
//!
//! The entries of many configurations stand in one file, which is changed once while both servers run. Time is today's here, and
//! tokens that cannot stand in a header stay out, so the recorded answers are asked again and not assumed.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use oidc_provider::{Answer, Config, Endpoint, Issuer, IssuerConfig, Misbehaviour, Provider};
use sandbox::{Client, Cluster};
use serde_json::{Value, json};

use kube_authn::Rules;

use crate::target;

use self::tokens::{Bearer, Case, DIFFERENCES, Outcome, Server, TAKEN, User, classify};

#[path = "../../../filter/cel/tests/support/page.rs"]
mod page;
#[path = "../../../filter/authn/tests/support/tokens.rs"]
#[allow(dead_code, reason = "what the other test of the corpus needs")]
mod tokens;

/// Issuers in a file. kube-apiserver takes 64.
const ISSUERS: usize = 30;

/// Files, one after the other.
const FILES: usize = 2;

/// A header that no server on the way minds.
const LONGEST: usize = 8000;

/// One token in so many is asked about.
const ONE_IN: usize = 5;

/// The gateway may pass on any extra, whatever the configurations call it.
const EXTRAS: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: gateway-extras}
rules: [{apiGroups: [authentication.k8s.io], resources: ['*'], verbs: [impersonate]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: gateway-extras}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: gateway-extras}
subjects: [{kind: ServiceAccount, namespace: kube-oidc-gateway, name: gateway}]
";

const AGREED: &str = "taken by all, with the same user";
const REFUSED: &str = "refused by all";
const GUARDED: &str =
    "taken by kube-apiserver and kube-authn, 403 by the gateway: names that its guard refuses";

fn authentication(jwt: &[Value]) -> Value {
    json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": jwt,
    })
}

/// Configurations whose issuers fit in one file, with key sets that nobody minds.
fn files() -> Vec<Vec<Case>> {
    let mut files: Vec<Vec<Case>> = vec![Vec::new()];
    let mut issuers: Vec<String> = Vec::new();
    // No version answers otherwise whether a token is taken, but for the beta of 1.38.
    for case in tokens::cases(Rules::default()) {
        let odd = |document: &String| {
            ["AKP", "secp256k1", "oct", "<html>", "\"keys\":[]"]
                .iter()
                .any(|mark| document.contains(mark))
        };
        let again = case.jwks.keys().any(|issuer| issuers.contains(issuer));
        if again || case.jwks.values().any(odd) {
            continue;
        }
        let file = files.last().map_or(0, |file| file.iter().map(|case| case.jwks.len()).sum());
        if file + case.jwks.len() > ISSUERS {
            files.push(Vec::new());
        }
        issuers.extend(case.jwks.keys().cloned());
        files.last_mut().unwrap().push(case);
    }
    files.truncate(FILES);
    files
}

/// The configurations of a file as one, with every issuer served by the provider.
fn merged(file: &[Case], provider: &Provider, served: &[Issuer]) -> Case {
    let mut jwt = Vec::new();
    let mut jwks = BTreeMap::new();
    for case in file {
        for entry in case.config["jwt"].as_array().unwrap() {
            let url = entry["issuer"]["url"].as_str().unwrap();
            let issuer = &served[jwt.len()];
            let discovery = Misbehaviour::answer(Answer::WrongIssuer(url.to_owned()));
            issuer.misbehave(Endpoint::Discovery, discovery).unwrap();
            let keys = Answer::Body {
                status: 200,
                content_type: "application/json".to_owned(),
                body: case.jwks[url].clone(),
            };
            issuer.misbehave(Endpoint::Jwks, Misbehaviour::answer(keys)).unwrap();
            jwks.insert(url.to_owned(), case.jwks[url].clone());
            let mut entry = entry.clone();
            entry["issuer"]["discoveryURL"] = issuer.endpoint(Endpoint::Discovery).into();
            entry["issuer"]["certificateAuthority"] = provider.ca_pem().into();
            // This kube-apiserver has no such networks to choose from.
            entry["issuer"].as_object_mut().unwrap().remove("egressSelectorType");
            jwt.push(entry);
        }
    }
    let config = authentication(&jwt);
    Case {
        name: "merged".to_owned(),
        config,
        jwks,
        http: BTreeMap::new(),
        given: false,
        tokens: Vec::new(),
    }
}

/// Who a server says the token's bearer is.
fn ask(server: &Client, token: &str) -> (u16, Option<User>) {
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let answer = server.post_json_as(token, path, &review).unwrap();
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let user = (answer.status == 201).then(|| user(&body["status"]["userInfo"]));
    (answer.status, user)
}

fn user(info: &Value) -> User {
    let text = |name: &str| info[name].as_str().unwrap_or_default().to_owned();
    let mut groups: Vec<String> =
        serde_json::from_value(info["groups"].clone()).unwrap_or_default();
    // Which kube-apiserver adds to whoever it knows.
    assert_eq!(groups.pop().as_deref(), Some("system:authenticated"), "{info}");
    let extra = serde_json::from_value(info["extra"].clone()).unwrap_or_default();
    User { username: text("username"), uid: text("uid"), groups, extra }
}

/// Whether the gateway must not let this user through, whoever vouches for it.
fn is_guarded(user: &User) -> bool {
    let unfit = |text: &String| text.trim() != text.as_str() || text.chars().any(char::is_control);
    let reserved = |name: &String| name.starts_with("system:");
    let names = || std::iter::once(&user.username).chain(&user.groups);
    user.username.is_empty()
        || names().any(reserved)
        || user.groups.iter().any(String::is_empty)
        || names().chain([&user.uid]).chain(user.extra.values().flatten()).any(unfit)
}

fn can_be_sent(bearer: &Bearer) -> bool {
    let token = &bearer.token;
    (1..LONGEST).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic())
}

#[test]
fn kube_apiserver_the_gateway_and_kube_authn_agree_about_the_tokens_of_the_corpus() {
    let config = (0..ISSUERS).fold(Config::default(), |config, number| {
        config.issuer(IssuerConfig::new(format!("i{number}"), format!("/i{number}")))
    });
    let provider = Provider::start(config).unwrap();
    let served = provider.issuers();
    let nobody = authentication(&[]);
    let cluster = Cluster::builder().authentication_config(nobody.to_string()).start().unwrap();
    cluster.apply(EXTRAS).unwrap();
    // Every token is a new one, and comes from the same address.
    let settings = target::configuration(&json!({"limits": {"signatureChecksPerSecond": 100_000}}));
    let gateway = cluster.gateway(nobody).configuration(settings).start().unwrap();
    let straight = Client::tls(&cluster.url(), cluster.ca(), None).unwrap();
    let through = Client::tls(&gateway.url(), gateway.ca(), None).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = Duration::from_secs(now.as_secs());

    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut configurations, mut compared, mut different) = (0, 0, Vec::new());
    for file in files() {
        let merged = merged(&file, &provider, &served);
        gateway.configure(&merged.config, None).unwrap();
        cluster.configure_authentication(&merged.config.to_string()).unwrap();
        let native = Server::new(&merged, now, Rules::default());
        configurations += file.len();
        let tokens = file.iter().flat_map(|case| &case.tokens).filter(|bearer| can_be_sent(bearer));
        for bearer in tokens.step_by(ONE_IN) {
            let (Bearer { name, token, .. }, (status, known)) =
                (bearer, ask(&straight, &bearer.token));
            compared += 1;
            let want = known.clone().map_or(Outcome::Refused(String::new()), Outcome::User);
            let got = match native.judge(token) {
                Outcome::Nobody => Outcome::Refused(String::new()),
                got => got,
            };
            let answer = ask(&through, token);
            let class = classify(&want, &got, token, &native);
            let fits = match (&got, &answer) {
                (Outcome::User(user), (403, _)) => is_guarded(user),
                (Outcome::User(user), (201, through)) => through.as_ref() == Some(user),
                (Outcome::BeyondLimits, (status, _)) => *status == 431,
                (_, (status, _)) => *status == 401,
            };
            match class.filter(|_| fits && (status == 201 || status == 401)) {
                Some(TAKEN) if answer.0 == 403 => *counts.entry(GUARDED).or_default() += 1,
                Some(TAKEN) => *counts.entry(AGREED).or_default() += 1,
                Some(class) if known.is_some() => *counts.entry(class).or_default() += 1,
                Some(_) => *counts.entry(REFUSED).or_default() += 1,
                None => different.push(format!(
                    "{name}: {status} {want:?} straight, {got:?} natively, {answer:?} through: {token}"
                )),
            }
        }
    }
    assert!(different.is_empty(), "{} of {compared}: {}", different.len(), different.join("\n"));
    assert!(compared >= 300, "{compared}");
    let rows = [("configurations", configurations), ("tokens", compared)];
    let classes = [AGREED, REFUSED, GUARDED].into_iter().chain(DIFFERENCES);
    let rows =
        rows.into_iter().chain(classes.map(|class| (class, *counts.get(class).unwrap_or(&0))));
    page::check(
        "servers",
        &page::table(
            "tokens in running servers",
            ["number"],
            rows.map(|(what, count)| (what, [count])),
        ),
    );
}
