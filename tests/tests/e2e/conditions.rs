//! Conditions: what is refused never comes to kube-apiserver, however it is written, and a login that is asked for passes.

use gateway_tests::person::Person;
use oidc_provider::Preset;
use sandbox::{Credential, realm};
use serde_json::{Value, json};

use crate::{
    harness::{LIMIT, Probe, Rig, cluster, until},
    wire::{Ask, Version},
};

const OFFICE: &str = "cidr('203.0.113.0/24').containsIP(request.address)";

/// A gateway with the patterns of docs/conditions.md. Its user has every right of the cluster.
fn rig() -> Rig {
    let mut configuration = realm::configuration();
    configuration["conditions"] = json!([
        {"name": "delete-in-kube-system", "message": "deleting here needs a second factor",
         "match": "request.namespace == 'kube-system' && request.verb in ['delete', 'deletecollection']",
         "login": {"acr": ["mfa"], "maxAgeSeconds": 900}},
        {"name": "exec-from-office", "expression": OFFICE,
         "match": "request.verb == 'proxy' || request.subresource in ['exec', 'attach', 'portforward', 'proxy', 'ephemeralcontainers']"},
        {"name": "agents-read-only", "match": "claims.?azp.orValue('') == 'agent'",
         "expression": "request.verb in ['get', 'list', 'watch'] && impersonated.username == ''"},
        {"name": "no-secrets", "expression": "request.resource != 'secrets'"},
    ]);
    let mut issuer = Preset::KubernetesSandbox.issuer();
    issuer.acr_values = vec!["mfa".to_owned()];
    Rig::builder().issuer(issuer).configuration(configuration).start()
}

/// The target with the probe's word in its query.
fn marked(target: &str, probe: &Probe) -> String {
    let separator = if target.contains('?') { '&' } else { '?' };
    format!("{target}{separator}{}", probe.word())
}

#[test]
fn what_a_condition_refuses_does_not_reach_kube_apiserver() {
    let rig = rig();
    let token = rig.admin_token();
    for (method, target, code) in [
        ("GET", "/api/v1/namespaces/default/secrets", 403),
        ("GET", "//api/v1/namespaces/default/secrets", 403),
        ("GET", "/api/v1/namespaces/default/secrets/", 403),
        ("GET", "/api/v1/namespaces/default/%73ecrets", 403),
        ("GET", "/api/v1/namespaces/default%2Fsecrets", 403),
        ("GET", "/%61pi/v1/secrets", 403),
        ("GET", "/api/v1/secrets?watch=1", 403),
        ("GET", "/api/v1/secrets?fieldSelector=metadata.name%3Dx&watch=true", 403),
        ("GET", "/api/v1/watch/secrets", 403),
        ("GET", "/api/v1/watch/namespaces/default/secrets/x", 403),
        ("DELETE", "/api/v1/namespaces/default/secrets", 403),
        ("DELETE", "/api/v1/namespaces/kube-system/pods/none", 401),
        ("DELETE", "/api/v1/namespaces/kube-system/pods?labelSelector=none%3Dnone", 401),
        ("DELETE", "/api/v1/namespaces/kube%2Dsystem/pods/none", 401),
        ("DELETE", "/api/v1/namespaces/kube-system", 401),
        ("GET", "/api/v1/namespaces/default/pods/none/exec?command=sh", 403),
        ("POST", "/api/v1/namespaces/default/pods/none/exec?command=sh", 403),
        ("GET", "/api/v1/namespaces/default/pods/none%2Fexec?command=sh", 403),
        ("GET", "/api/v1/namespaces/default/pods/none/portforward", 403),
        ("GET", "/api/v1/nodes/none/proxy/exec/default/none/c?command=sh", 403),
        ("GET", "/api/v1/proxy/namespaces/default/services/none", 403),
        // What kube-apiserver reads as something else goes there, and is nothing there either.
        ("GET", "/api/v1/namespaces/default/pods/../secrets", 0),
        ("GET", "/api/v1/namespaces/default/./secrets", 0),
        ("GET", "/API/v1/secrets", 0),
        ("GET", "/api/v1/namespaces/default/pods", 200),
        ("DELETE", "/api/v1/namespaces/default/pods/none", 404),
    ] {
        for version in Version::ALL {
            let probe = Probe::new();
            let sent = marked(target, &probe);
            let answer =
                Ask::new(method, &sent).bearer(&token).send(&rig.gateway, version).unwrap();
            match code {
                401 | 403 => {
                    assert_eq!(answer.status, code, "{version:?} {method} {target}: {answer:?}");
                    probe.assert_untouched();
                }
                0 => assert_ne!(answer.status, 200, "{version:?} {method} {target}: {answer:?}"),
                code => {
                    assert_eq!(answer.status, code, "{version:?} {method} {target}: {answer:?}");
                }
            }
        }
    }
    // What nobody can read.
    let probe = Probe::new();
    let sent = marked("/api/v1/%zz", &probe);
    let answer = Ask::new("GET", &sent).bearer(&token).send(&rig.gateway, Version::H1).unwrap();
    assert_eq!(answer.status, 400, "{answer:?}");
    probe.assert_untouched();
}

/// An address is what Envoy says, whatever the client writes.
#[test]
fn an_address_is_not_taken_from_a_header() {
    let rig = rig();
    let token = rig.admin_token();
    let spoofed = [
        ("X-Forwarded-For", "203.0.113.7"),
        ("X-Real-Ip", "203.0.113.7"),
        ("Forwarded", "for=203.0.113.7"),
        ("X-Envoy-External-Address", "203.0.113.7"),
        ("True-Client-Ip", "203.0.113.7"),
    ];
    for version in Version::ALL {
        for protocol in ["websocket", "SPDY/3.1"] {
            // HTTP/2 has no Upgrade.
            if version == Version::H2 {
                continue;
            }
            let ask = Ask::exec(protocol).bearer(&token).headers(spoofed);
            assert_eq!(ask.send(&rig.gateway, version).unwrap().status, 403, "{protocol}");
        }
        let path = "/api/v1/namespaces/default/pods/none/exec?command=sh";
        let ask = Ask::new("POST", path).bearer(&token).headers(spoofed);
        let answer = ask.send(&rig.gateway, version).unwrap();
        assert_eq!(answer.status, 403, "{version:?}: {answer:?}");
        assert!(answer.body.contains("condition exec-from-office is not fulfilled"), "{answer:?}");
    }
    // A proxy that is trusted says it.
    let mut trusting = rig.configuration();
    trusting["conditions"] = json!([{"name": "office", "expression": OFFICE}]);
    let authentication = realm::authentication_of(&rig.provider);
    let gateway = crate::harness::gateway(authentication)
        .configuration(trusting)
        .inputs(|inputs| inputs.options.trusted_hops = 1)
        .start()
        .unwrap();
    for (forwarded, code) in [
        ("203.0.113.7", 200),
        ("198.51.100.7", 403),
        // The last one is the proxy's word.
        ("203.0.113.7, 198.51.100.7", 403),
        ("198.51.100.7, 203.0.113.7", 200),
    ] {
        let ask = Ask::version().bearer(&token).header("X-Forwarded-For", forwarded);
        assert_eq!(ask.send(&gateway, Version::H1).unwrap().status, code, "{forwarded}");
    }
}

/// `--as` leads out of no condition: the user is who signed in.
#[test]
fn acting_as_somebody_else_does_not_lead_around_a_condition() {
    let rig = rig();
    let token = rig.admin_token();
    let asks = [("Impersonate-User", "bob"), ("Impersonate-Group", "system:masters")];
    let probe = Probe::new();
    let sent = marked("/api/v1/secrets", &probe);
    let answer = Ask::new("GET", &sent)
        .bearer(&token)
        .headers(asks)
        .send(&rig.gateway, Version::H2)
        .unwrap();
    assert_eq!(answer.status, 403, "{answer:?}");
    probe.assert_untouched();
    let agent =
        rig.token().claim("groups", ["system:masters"].as_slice()).claim("azp", "agent").mint();
    let version = |token: &str, headers: &[(&'static str, &'static str)]| {
        let ask = Ask::version().bearer(token).headers(headers.iter().copied());
        ask.send(&rig.gateway, Version::H1).unwrap().status
    };
    assert_eq!(version(&agent, &[]), 200);
    assert_eq!(version(&agent, &asks), 403);
    assert_eq!(version(&token, &asks), 200);
}

/// The names are in the answer, the log and the metrics.
#[test]
fn a_refusal_names_its_condition_everywhere() {
    let rig = rig();
    let ask = Ask::new("GET", "/api/v1/secrets").bearer(&rig.admin_token());
    let answer = ask.send(&rig.gateway, Version::H1).unwrap();
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(body["message"], "condition no-secrets is not fulfilled");
    assert_eq!((&body["reason"], &body["code"]), (&json!("Forbidden"), &json!(403)));
    let counted = "gateway_condition_refusals_total{";
    until("the metric", || {
        let text = rig.gateway.envoy_admin().get("/stats/prometheus").unwrap().body;
        let line = text.lines().find(|line| {
            line.contains(counted)
                && line.contains("condition=\"no-secrets\"")
                && line.contains("result=\"false\"")
        });
        line.filter(|line| line.ends_with(" 1")).map(|_| ())
    });
}

/// The whole way of a person: refused, told what to do, logged in with a second factor, and let through.
#[test]
fn a_login_that_a_condition_asks_for_passes() {
    let rig = rig();
    let person = Person::new(&cluster().assets().kubectl);
    let ca = person.file("issuer.crt", rig.provider.ca_pem());
    let exec = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "command": "kubectl-oidc", "interactiveMode": "IfAvailable",
        "args": [
            "get-token", format!("--oidc-issuer-url={}", rig.issuer().url()), format!("--oidc-client-id={}", realm::CLIENT),
            "--oidc-extra-scope=profile groups", format!("--certificate-authority={ca}"),
        ],
    });
    let kubectl = person.takes(rig.gateway.kubectl(Credential::Exec(exec)).unwrap());
    let run = |arguments: &[&str], visit: Option<usize>| {
        std::thread::scope(|scope| {
            let running = scope.spawn(|| kubectl.run(arguments).unwrap());
            if let Some(number) = visit {
                let start = person.visit(number, LIMIT);
                let password = realm::password("k8s-user1");
                rig.provider.browser().sign_in(&start, "k8s-user1", &password).unwrap();
            }
            running.join().unwrap()
        })
    };
    let delete = ["delete", "pod", "none", "--namespace=kube-system"];
    let refused = run(&delete, Some(1));
    let told = "condition delete-in-kube-system: deleting here needs a second factor; log in again: kubectl oidc login --acr=mfa --max-age=900";
    assert!(
        refused.stderr.contains(&format!("error: You must be logged in to the server ({told})")),
        "{refused:?}"
    );
    // The very command.
    let (_, command) = told.split_once("kubectl ").unwrap();
    let words: Vec<&str> = command.split(' ').collect();
    let login = run(&words, Some(2));
    assert!(login.success(), "{login:?}");
    // Now RBAC decides, which gives this user nothing here; nobody logs in again.
    let decided = run(&delete, None);
    assert!(
        decided.stderr.contains("Error from server (Forbidden): pods \"none\" is forbidden: User"),
        "{decided:?}"
    );
    assert_eq!(person.visits().len(), 2);
}
