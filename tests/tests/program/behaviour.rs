//! kube-oidc-proxy's documented behaviour, with its own flags.

use sandbox::audit::Stage;
use serde_json::{Value, json};

use crate::harness::{LIMIT, Rig, cluster, until};

/// Who the API server says one is: user name, groups and extras.
fn whoami(rig: &Rig, token: &str, headers: &[(&str, &str)]) -> (u16, Value) {
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
