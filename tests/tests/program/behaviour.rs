//! kube-oidc-proxy's documented behaviour, with its own flags.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use oidc_provider::{Algorithm, SignWith};
use rustls::version::TLS13;
use sandbox::{Authority, audit::Stage};
use serde_json::{Value, json};

use crate::harness::{LIMIT, Load, Multiplex, Rig, Sessions, cluster, until};

/// Who the API server says one is: user name, groups and extras.
pub fn whoami(rig: &Rig, token: &str, headers: &[(&str, &str)]) -> (u16, Value) {
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let url = format!("{}/apis/authentication.k8s.io/v1/selfsubjectreviews", rig.url());
    let mut request = rig
        .agent()
        .post(url)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut answer = request.send(review.to_string()).unwrap();
    let body = answer.body_mut().read_to_string().unwrap();
    let body: Value = serde_json::from_str(&body).unwrap();
    let user = body.pointer("/status/userInfo").cloned();
    (answer.status().as_u16(), user.unwrap_or(body))
}

#[test]
fn the_chart_s_flags_impersonate_and_answer_probes() {
    let rig = Rig::new(&[]);
    let (status, user) = whoami(&rig, &rig.token().mint(), &[]);
    assert_eq!((status, &user["username"]), (201, &json!(rig.user())), "{user}");
    assert_eq!(user["groups"], json!(["system:viewers", "system:authenticated"]));
    // Old roles lack the right to it.
    assert!(user.get("extra").is_none(), "{user}");

    // kube-oidc-proxy's probe, and Kubernetes' own kinds.
    let probe = rig.probe();
    for path in ["/ready", "/readyz", "/livez"] {
        assert_eq!(probe.get(path).unwrap().status, 200, "{path}");
    }
    let verbose = probe.get("/readyz?verbose").unwrap().body;
    for check in ["envoy", "filter", "issuers", "apiserver", "rights", "shutdown"] {
        assert!(verbose.contains(&format!("[+]{check} ok\n")), "{verbose}");
    }
    // The filter hands its numbers on once a tick.
    let metrics = until("the request is counted", || {
        let text = probe.get("/metrics").unwrap().body;
        text.contains("gateway_requests_total{").then_some(text)
    });
    for line in [
        "# HELP gateway_requests_total ",
        "gateway_requests_total{decision=\"forwarded\",reason=\"impersonate\"",
        "gateway_authentication_seconds_count{",
        "gateway_apiserver_request_seconds_count{kind=\"other\"",
        "gateway_issuer_keys{",
        "gateway_certificate_expiry_timestamp_seconds{input=\"serving_certificate\"}",
        "gateway_token_expiry_timestamp_seconds ",
        "gateway_envoy_up 1",
        "envoy_server_live",
    ] {
        assert!(metrics.lines().any(|found| found.starts_with(line)), "{line}\n{metrics}");
    }
    // One line of JSON for each request, on standard output.
    rig.wait_for_log("\"path\":\"/apis/authentication.k8s.io/v1/selfsubjectreviews\"");
    assert!(!rig.log().contains(&rig.token().mint()), "a token in the log");
}

#[test]
fn as_is_authorized_by_rbac_and_the_original_user_is_told() {
    let rig = Rig::new(&[]);
    let token = rig.token().claim("groups", ["deputies"].as_slice()).mint();
    let (status, jane) = whoami(&rig, &token, &[("impersonate-user", "jane")]);
    assert_eq!((status, &jane["username"]), (201, &json!("jane")), "{jane}");
    assert_eq!(jane["extra"]["originaluser.jetstack.io-user"], json!([rig.user()]), "{jane}");
    let (status, refusal) = whoami(&rig, &token, &[("impersonate-user", "root")]);
    assert_eq!((status, &refusal["kind"]), (403, &json!("Status")), "{refusal}");

    let kubectl = rig.kubectl(token);
    let output = kubectl.run(["get", "pods", "--as=system:serviceaccount:default:robot"]).unwrap();
    assert!(output.stderr.contains("Forbidden"), "{output:?}");
}

#[test]
fn passthrough_takes_tokens_of_the_cluster_as_they_are() {
    let rig = Rig::new(&["--token-passthrough"]);
    let robot = cluster().service_account_token("default", "robot", 600).unwrap();
    let mark = cluster().audit().mark().unwrap();
    let (status, user) = whoami(&rig, &robot, &[]);
    let name = "system:serviceaccount:default:robot";
    assert_eq!((status, &user["username"]), (201, &json!(name)), "{user}");
    let event = cluster()
        .audit()
        .wait_for(mark, LIMIT, |event| {
            event.stage == Stage::ResponseComplete
                && event.request_uri.ends_with("/selfsubjectreviews")
                && event.user.username == name
        })
        .unwrap();
    assert!(event.impersonated_user.is_none());
    // The issuer's users are still impersonated.
    assert_eq!(whoami(&rig, &rig.token().mint(), &[]).1["username"], json!(rig.user()));
    assert_eq!(whoami(&rig, "nonsense", &[]).0, 401);
}

#[test]
fn passthrough_is_off_unless_asked_for() {
    let rig = Rig::new(&["--token-passthrough=false"]);
    let robot = cluster().service_account_token("default", "robot", 600).unwrap();
    assert_eq!(whoami(&rig, &robot, &[]).0, 401);
}

#[test]
fn without_impersonation_the_token_itself_travels() {
    let rig = Rig::new(&["--disable-impersonation"]);
    let mark = cluster().audit().mark().unwrap();
    // The cluster does not know the issuer: that it says so shows that the token arrived.
    assert_eq!(whoami(&rig, &rig.token().mint(), &[]).0, 401);
    let arrived = cluster()
        .audit()
        .wait_for(mark, LIMIT, |event| {
            event.request_uri.ends_with("/selfsubjectreviews") && event.user.username.is_empty()
        })
        .unwrap();
    assert!(arrived.impersonated_user.is_none());
    // What the gateway does not verify does not arrive.
    let (status, refusal) = whoami(&rig, &rig.token().mint(), &[("impersonate-user", "jane")]);
    assert_eq!(status, 403, "{refusal}");
}

#[test]
fn extras_and_the_client_s_address_arrive() {
    let rig = Rig::new(&[
        "--extra-user-headers=scopes=read,scopes=write",
        "--extra-user-header-client-ip",
    ]);
    let forged = [("x-forwarded-for", "10.9.9.9")];
    let (status, user) = whoami(&rig, &rig.token().mint(), &forged);
    assert_eq!(status, 201, "{user}");
    let want = json!({"scopes": ["read", "write"], "remote-client-ip": ["127.0.0.1"]});
    assert_eq!(user["extra"], want);
}

/// kube-apiserver's default, RS256 alone, and what a list says in its place.
#[test]
fn signing_algorithms_are_those_of_the_list() {
    for (flags, want) in [
        (&[][..], [(Algorithm::Rs256, 201), (Algorithm::Es256, 401)]),
        (&["--oidc-signing-algs=ES256"], [(Algorithm::Rs256, 401), (Algorithm::Es256, 201)]),
    ] {
        let rig = Rig::new(flags);
        for (algorithm, want) in want {
            let token = rig.token().sign(SignWith::Algorithm(algorithm)).mint();
            assert_eq!(whoami(&rig, &token, &[]).0, want, "{flags:?} {algorithm:?}");
        }
    }
}

/// RafPe/kube-oidc-proxy#75: the last address that is no trusted proxy's is the client's; of others nothing is believed.
#[test]
fn trusted_proxies_say_where_a_client_is() {
    for (ranges, want) in [
        ("10.0.0.0/8,192.0.2.1", "127.0.0.1"),
        ("127.0.0.0/8", "203.0.113.9"),
        ("127.0.0.1,203.0.113.0/24,::1", "198.51.100.7"),
    ] {
        let flag = format!("--trusted-proxies={ranges}");
        let rig = Rig::new(&["--extra-user-header-client-ip", &flag]);
        let id = "11111111-2222-4333-8444-555555555555";
        let said = [
            ("x-forwarded-for", "192.0.2.66, 198.51.100.7, 203.0.113.9"),
            ("x-request-id", id),
            ("audit-id", id),
            ("x-envoy-external-address", "192.0.2.67"),
        ];
        let (status, user) = whoami(&rig, &rig.token().mint(), &said);
        assert_eq!(status, 201, "{user}");
        assert_eq!(user["extra"]["remote-client-ip"], json!([want]), "{ranges}");
        rig.wait_for_log(&format!("\"client\":\"{want}\""));
        assert!(!rig.log().contains(id), "the client's own id for its request");
    }
}

#[test]
pub fn audit_events_and_the_line_of_kube_oidc_proxy() {
    let mut log = std::path::PathBuf::new();
    let rig = Rig::with(
        |files| {
            let folder = files.config.parent().unwrap();
            log = folder.join("audit.log");
            let policy = folder.join("policy.yaml");
            let text = "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Metadata}]}";
            std::fs::write(&policy, text).unwrap();
            let webhook = folder.join("webhook.yaml");
            let text = "{apiVersion: v1, kind: Config, current-context: a, \
                        clusters: [{name: a, cluster: {server: 'http://127.0.0.1:9/'}}], \
                        contexts: [{name: a, context: {cluster: a, user: a}}], users: [{name: a, user: {}}]}";
            std::fs::write(&webhook, text).unwrap();
            vec![
                format!("--audit-policy-file={}", policy.display()),
                format!("--audit-log-path={}", log.display()),
                "--request-log=proxy".to_owned(),
                // Nobody takes events there, and there is no room for them.
                format!("--audit-webhook-config-file={}", webhook.display()),
                "--audit-webhook-batch-buffer-size=1".to_owned(),
                "--audit-webhook-initial-backoff=1m".to_owned(),
            ]
        },
        true,
    );
    let token = rig.token().mint();
    let mut answer = rig
        .agent()
        .get(format!("{}/api/v1/namespaces/default/pods?limit=7", rig.url()))
        .header("authorization", format!("Bearer {token}"))
        .call()
        .unwrap();
    let id = answer.headers()["audit-id"].to_str().unwrap().to_owned();
    answer.body_mut().read_to_string().unwrap();
    assert_eq!(whoami(&rig, "nonsense", &[]).0, 401);
    rig.wait_for_log(&format!(
        "AuSuccess src:[127.0.0.1 / ] URI:/api/v1/namespaces/default/pods?limit=7 inbound:[{} / ",
        rig.user()
    ));
    rig.wait_for_log(
        "AuFail src:[127.0.0.1 / ] URI:/apis/authentication.k8s.io/v1/selfsubjectreviews",
    );
    let event = until("the event", || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.into_iter().find(|e| e["auditID"] == id.as_str() && e["stage"] == "ResponseComplete")
    });
    assert_eq!(event["user"]["username"], json!(rig.user()), "{event}");
    assert_eq!(event["responseStatus"]["code"], 200);
    let counted = |output: &str, result: &str| {
        rig.metric(&format!(
            "gateway_audit_events_total{{output=\"{output}\",result=\"{result}\"}}"
        ))
    };
    assert!(counted("file", "written") >= 3.0 && counted("file", "dropped") < 1.0);
    until("events are dropped", || {
        whoami(&rig, &token, &[]);
        (counted("webhook", "dropped") > 0.0).then_some(())
    });
    for text in [rig.log(), std::fs::read_to_string(&log).unwrap()] {
        assert!(!text.contains(&token), "a token was written");
    }
}

/// Requests that are sent together.
const BATCH: usize = 25;

/// A storm of bad tokens at a gateway must not become one at the API server (open-cluster-management/cluster-proxy#282).
#[test]
fn bad_tokens_do_not_storm_the_api_server() {
    let rig = Rig::new(&["--token-passthrough"]);
    let good = rig.token().mint();
    let load = Load::start(&rig, &good, "/version", 2, 20);
    let (clients, rate, time) = (4, 1000, Duration::from_secs(10));
    let mark = cluster().audit().mark().unwrap();
    let start = Instant::now();
    let refused: usize = thread::scope(|scope| {
        let client = |client: u32| {
            let mut connection = Multiplex::open(&rig);
            move || {
                let (mut refused, mut next) = (0, start);
                while start.elapsed() < time {
                    let tokens: Vec<_> =
                        (0..BATCH).map(|n| format!("bad-{client}-{}", refused + n)).collect();
                    let statuses = connection.ask("/version", &tokens);
                    let known = statuses.iter().all(|status| matches!(status, 401 | 429));
                    assert!(known, "{statuses:?}");
                    refused += BATCH;
                    next += Duration::from_secs(1) * clients * u32::try_from(BATCH).unwrap() / rate;
                    thread::sleep(next.saturating_duration_since(Instant::now()));
                }
                refused
            }
        };
        let clients: Vec<_> = (0..clients).map(|number| scope.spawn(client(number))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    let seconds = start.elapsed().as_secs_f64();
    let (served, faults) = load.end();
    let asked = cluster().audit().since(mark).unwrap();
    let asked = asked
        .iter()
        .filter(|e| e.stage == Stage::ResponseComplete && e.request_uri.ends_with("/tokenreviews"))
        .count();
    // 20 a second for one client address, in all workers together, and what a full bucket holds, ten seconds' worth.
    let most = 20.0 * (seconds + 10.0);
    println!("{asked} reviews of {refused} tokens in {seconds:.1} s");
    // A machine that is busy with other things sends fewer.
    assert!(refused > 3000, "only {refused} bad tokens came");
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    let asked = asked as f64;
    assert!(asked > 0.0 && asked <= most, "{asked} reviews of {refused} tokens in {seconds} s");
    assert!(faults.is_empty() && served > 10, "{served} {faults:?}");
}

/// Envoy takes one secret from a file: with both in one there was no certificate at all.
#[test]
pub fn a_certificate_for_a_name_beside_the_first() {
    let authority = Authority::new("named").unwrap();
    let pair = authority.server(&["named.example"]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).display().to_string()
    };
    let (chain, key) = (write("named.crt", &pair.certificate), write("named.key", &pair.key));
    let rig = Rig::new(&[&format!("--tls-sni-cert-key={chain},{key}:named.example")]);
    for (name, authority) in [("named.example", &authority), ("127.0.0.1", &rig.authority)] {
        let client = Sessions::new(&TLS13, &[authority.pem()]);
        assert!(client.ask(&rig, name).is_some(), "{name}");
    }
}
