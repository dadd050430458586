//! Issuers in all manners. kube-apiserver and the gateway have the same `AuthenticationConfiguration`, and the same token is sent to
//! both; where their answers differ, `issuers.yaml` says why, or the test fails. The answers are a table of docs/conformance.md.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    thread,
    time::{Duration, Instant},
};

use gateway_net::Proxies;
use oidc_provider::{Config, Issuer, IssuerConfig, Provider};
use sandbox::{Client, Cluster, Manners, Request, ServedIssuer};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::page;

const TABLE: &str = include_str!("issuers.yaml");

/// Rows whose answers differ by a defect that is known and is to be cured: subject, manner, defect. A row that agrees must not stand
/// here.
const KNOWN: &[(&str, &str, &str)] = &[];

/// Issuers of a configuration. kube-apiserver takes 64.
const MOST: usize = 64;

/// Clusters that are there at the same time.
const AT_ONCE: usize = 2;

/// How long both have to take a token. kube-apiserver asks a silent issuer again each 10 s, and waits 30 s for an answer.
const PATIENCE: Duration = Duration::from_secs(45);

/// The time between two tries.
const PAUSE: Duration = Duration::from_millis(500);

const AUDIENCE: &str = "kubernetes";

/// The rows about one thing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    subject: String,
    rows: Vec<RawRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRow {
    manner: String,
    #[serde(default)]
    serve: Option<Value>,
    #[serde(default)]
    difference: Option<String>,
}

/// One manner.
struct Row {
    subject: String,
    manner: String,
    serve: Value,
    /// Why the gateway is to answer otherwise than kube-apiserver.
    difference: Option<String>,
}

/// What a server says about a token.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    user: String,
    words: String,
}

impl Row {
    fn name(&self) -> String {
        format!("{}: {}", self.subject, self.manner)
    }

    fn known(&self) -> Option<&'static str> {
        let this = |(subject, manner, _): &&(&str, &str, &str)| {
            (*subject, *manner) == (&*self.subject, &*self.manner)
        };
        KNOWN.iter().find(this).map(|(_, _, defect)| *defect)
    }
}

impl Answer {
    fn taken(&self) -> bool {
        self.status == 201
    }

    fn agrees(&self, other: &Self) -> bool {
        self.taken() == other.taken() && (!self.taken() || self.user == other.user)
    }
}

fn rows() -> Vec<Row> {
    let groups: Vec<Group> = serde_saphyr::from_str(TABLE).unwrap();
    let row = |subject: &str, raw: RawRow| Row {
        subject: subject.to_owned(),
        manner: raw.manner,
        serve: raw.serve.unwrap_or_else(|| json!({})),
        difference: raw.difference,
    };
    let of_group = |group: Group| {
        let subject = group.subject;
        group.rows.into_iter().map(move |raw| row(&subject, raw)).collect::<Vec<_>>()
    };
    groups.into_iter().flat_map(of_group).collect()
}

/// Who a server says the token's bearer is.
fn ask(server: &Client, token: &str) -> Answer {
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    match server.post_json_as(token, path, &review) {
        Ok(answer) => {
            let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
            let text = |pointer| {
                let found = body.pointer(pointer).and_then(Value::as_str);
                found.unwrap_or_default().to_owned()
            };
            Answer {
                status: answer.status,
                user: text("/status/userInfo/username"),
                words: text("/message"),
            }
        }
        // It says nothing for longer than anybody waits.
        Err(error) => Answer { status: 0, user: String::new(), words: error.to_string() },
    }
}

/// The answer as soon as the token is taken, or the last one.
fn settle(server: &Client, token: &str, until: Instant) -> Answer {
    loop {
        let answer = ask(server, token);
        if answer.taken() || Instant::now() > until {
            return answer;
        }
        thread::sleep(PAUSE);
    }
}

fn authentication(issuers: &[ServedIssuer]) -> Value {
    let jwt = issuers.iter().map(|served| {
        let mut issuer = json!({"url": served.url, "audiences": [AUDIENCE]});
        issuer["certificateAuthority"] = served.ca.clone().into();
        if let Some(url) = &served.discovery_url {
            issuer["discoveryURL"] = url.clone().into();
        }
        let username = json!({"claim": "sub", "prefix": format!("{}#", served.url)});
        json!({"issuer": issuer, "claimMappings": {"username": username}})
    });
    json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": jwt.collect::<Vec<_>>(),
    })
}

fn token(keys: &Issuer, served: &ServedIssuer) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    keys.mint(&json!({
        "iss": served.url, "aud": AUDIENCE, "sub": "alice", "iat": now, "nbf": now, "exp": now + 3600,
    }))
}

/// The answers of kube-apiserver and of the gateway about one token of each issuer.
fn answers_about(issuers: &[ServedIssuer], keys: &Issuer, proxy: &str) -> Vec<(Answer, Answer)> {
    let authentication = authentication(issuers);
    let cluster = Cluster::builder()
        .authentication_config(authentication.to_string())
        .apiserver_variable("HTTPS_PROXY", proxy)
        .start()
        .unwrap();
    let proxies = Proxies::read(|name| (name == "HTTPS_PROXY").then(|| proxy.to_owned()));
    let gateway = cluster
        .gateway(authentication)
        .inputs(|inputs| inputs.documents = inputs.documents.clone().through(&proxies).unwrap())
        .start()
        .unwrap();
    let straight = Client::tls(&cluster.url(), cluster.ca(), None).unwrap();
    let through = Client::tls(&gateway.url(), gateway.ca(), None).unwrap();
    let until = Instant::now() + PATIENCE;
    thread::scope(|scope| {
        let pairs: Vec<_> = issuers
            .iter()
            .map(|served| {
                let token = token(keys, served);
                let ask = |server| {
                    let token = token.clone();
                    scope.spawn(move || settle(server, &token, until))
                };
                (ask(&straight), ask(&through))
            })
            .collect();
        pairs.into_iter().map(|(a, b)| (a.join().unwrap(), b.join().unwrap())).collect()
    })
}

/// What each of the two asked an issuer for. Go's client says who it is.
fn targets(requests: &[Request], issuer: &str) -> [BTreeSet<(String, String)>; 2] {
    let of = |go: bool| {
        let own = |request: &&Request| {
            request.issuer == issuer && request.agent.starts_with("Go-http-client") == go
        };
        let target = |request: &Request| {
            // The name in a CONNECT is one in any case.
            let target = match &*request.endpoint {
                "connect" => request.target.to_lowercase(),
                _ => request.target.clone(),
            };
            (request.endpoint.clone(), target)
        };
        requests.iter().filter(own).map(target).collect()
    };
    [of(true), of(false)]
}

#[test]
fn what_kube_apiserver_takes_from_an_issuer_the_gateway_takes() {
    let rows = rows();
    assert!(rows.len() >= 80, "{}", rows.len());
    let provider = Provider::start(Config::of(IssuerConfig::new("keys", "/keys"))).unwrap();
    let keys = provider.issuer();
    let manners = rows.iter().fold(Manners::builder(keys.jwks()), |manners, row| {
        let mut serve = row.serve.clone();
        serve["name"] = row.name().into();
        manners.issuer(serve)
    });
    let manners = manners.start().unwrap();
    let issuers = manners.issuers();
    let starts: Vec<_> =
        issuers.chunks(issuers.len().div_ceil(issuers.len().div_ceil(MOST))).collect();
    let mut answers: Vec<(Answer, Answer)> = Vec::new();
    for starts in starts.chunks(AT_ONCE) {
        let (keys, proxy) = (&keys, manners.proxy());
        thread::scope(|scope| {
            let begin = |&issuers| scope.spawn(move || answers_about(issuers, keys, proxy));
            let starts: Vec<_> = starts.iter().map(begin).collect();
            answers.extend(starts.into_iter().flat_map(|start| start.join().unwrap()));
        });
    }
    let requests = manners.requests().unwrap();

    let (mut wrong, mut table) = (Vec::new(), String::new());
    table.push_str("| issuer | manner | kube-apiserver | gateway | |\n|---|---|---|---|---|\n");
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (row, (straight, through)) in rows.iter().zip(&answers) {
        let name = row.name();
        let seen = format!("{name}: {straight:?} straight, {through:?} through");
        let [asked, by_gateway] = targets(&requests, &name);
        let same_targets = !straight.taken() || !through.taken() || asked == by_gateway;
        let seen = if same_targets {
            seen
        } else {
            format!("{seen}: asked for {by_gateway:?}, kube-apiserver for {asked:?}")
        };
        let agree = straight.agrees(through) && same_targets;
        match (agree, &row.difference, row.known()) {
            (true, None, None) | (false, Some(_), None) | (false, None, Some(_)) => {}
            (true, ..) => wrong.push(format!("{seen}: they agree; take the reason away")),
            (false, Some(_), Some(_)) => wrong.push(format!("{seen}: two reasons")),
            (false, None, None) => wrong.push(format!("{seen}: no reason is given")),
        }
        let say = |answer: &Answer| if answer.taken() { "taken" } else { "refused" };
        let why = row.difference.clone();
        let why = why.or_else(|| row.known().map(|defect| format!("to be cured: {defect}")));
        let cells =
            [&*row.subject, &row.manner, say(straight), say(through), &why.unwrap_or_default()];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        writeln!(table, "| {} |", cells.join(" | ").trim_end()).unwrap();
        *counts.entry(if agree { "the same" } else { "different" }).or_default() += 1;
    }
    for (subject, manner, _) in KNOWN {
        let row = rows.iter().find(|row| row.subject == *subject && row.manner == *manner);
        assert!(row.is_some(), "there is no manner {subject}: {manner}");
    }
    println!("{counts:?}");
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    page::check("issuers", &table);
}
