//! The rendered pod runs: with the command line, environment, volumes and ServiceAccount of the Deployment and the rights of
//! the `ClusterRole`, every feature that the values turn on works; with one rule fewer, something does not.

use std::sync::atomic::{AtomicUsize, Ordering};

use gateway_tests::built;
use oidc_provider::{Config, Preset, Provider};
use regex_lite::Regex;
use sandbox::realm;
use serde_json::{Value, json};
use ureq::{
    Agent,
    tls::{Certificate, RootCerts, TlsConfig},
};

use crate::{
    cluster::cluster,
    helm::chart,
    pod::{Pod, until},
};

const REVIEWS: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const ORIGINAL: &str = "originaluser.jetstack.io-";

static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// One who uses the gateway of a pod, and what he should see there.
struct Visitor {
    provider: Provider,
    agent: Agent,
    url: String,
    /// The extras that arrive with every request of his.
    extras: Value,
    /// Whether the configuration tells a uid.
    uid: bool,
}

impl Visitor {
    fn new(provider: Provider, pod: &Pod<'_>, extras: Value, uid: bool) -> Self {
        let root = Certificate::from_pem(pod.ca().as_bytes()).unwrap();
        let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&[root])).build();
        let agent = Agent::config_builder().tls_config(tls).proxy(None).http_status_as_error(false);
        let visitor = Self { provider, agent: agent.build().into(), url: pod.url(), extras, uid };
        visitor.may_impersonate();
        visitor
    }

    /// Lets him ask to be somebody else. His own rights count for that, not the gateway's.
    fn may_impersonate(&self) {
        let rule = |group: &str, resource: &str| json!({"apiGroups": [group], "resources": [resource], "verbs": ["impersonate"]});
        let authentication = "authentication.k8s.io";
        let name = format!("visitor-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name},
            "rules": [rule("", "users"), rule("", "groups"), rule("", "serviceaccounts"),
                rule(authentication, "uids"), rule(authentication, "userextras/scopes")],
        });
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": self.name()}],
        });
        for object in [role, binding] {
            cluster().apply(&object.to_string()).unwrap();
        }
    }

    fn name(&self) -> String {
        format!("{}#k8s-user1", self.provider.issuer().url())
    }

    fn token(&self) -> String {
        let token = self.provider.issuer().token("k8s-user1", realm::CLIENT);
        token.claim("team", "red").claim("jti", "the-token").mint()
    }

    /// Who the API server says that one is.
    fn whoami(&self, token: &str, headers: &[(&str, &str)]) -> Result<Value, String> {
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
        let mut request = self.agent.post(format!("{}{REVIEWS}", self.url));
        for (name, value) in [
            ("authorization", format!("Bearer {token}").as_str()),
            ("content-type", "application/json"),
        ]
        .iter()
        .chain(headers)
        {
            request = request.header(*name, *value);
        }
        let mut answer = request.send(review.to_string()).map_err(|error| error.to_string())?;
        let body = answer.body_mut().read_to_string().map_err(|error| error.to_string())?;
        let body: Value =
            serde_json::from_str(&body).map_err(|error| format!("{error}: {body}"))?;
        body.pointer("/status/userInfo").cloned().ok_or_else(|| body.to_string())
    }

    /// Every feature once, with values of which the gateway remembers no answer.
    fn features(&self) -> Result<(), String> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let token = self.token();
        let me = self.whoami(&token, &[])?;
        same(&me["username"], &json!(self.name()))?;
        same(&me["groups"], &json!(["system:viewers", "system:authenticated"]))?;
        same(&me["extra"], &self.extras)?;
        if self.uid == me["uid"].is_null() {
            return Err(format!("uid: {me}"));
        }

        let (user, group, uid) =
            (format!("user-{number}"), format!("group-{number}"), number.to_string());
        let other = self.whoami(
            &token,
            &[
                ("impersonate-user", &user),
                ("impersonate-group", &group),
                ("impersonate-uid", &uid),
                ("impersonate-extra-scopes", &uid),
            ],
        )?;
        same(&other["username"], &json!(user))?;
        same(&other["groups"], &json!([group, "system:authenticated"]))?;
        same(&other["uid"], &json!(uid))?;
        same(&other["extra"]["scopes"], &json!([uid]))?;
        let original = |what: &str| &other["extra"][format!("{ORIGINAL}{what}")];
        same(original("user"), &json!([self.name()]))?;
        same(original("groups"), &json!(["system:viewers"]))?;
        if self.uid {
            same(original("uid"), &json!([me["uid"]]))?;
        }

        let account = format!("system:serviceaccount:default:account-{number}");
        let other = self.whoami(&token, &[("impersonate-user", &account)])?;
        same(&other["username"], &json!(account))
    }

    /// A token of the cluster's own goes through as it is.
    fn passthrough(&self) -> Result<(), String> {
        let token = cluster().service_account_token("login", "robot", 600).unwrap();
        let robot = self.whoami(&token, &[])?;
        same(&robot["username"], &json!("system:serviceaccount:login:robot"))
    }
}

fn same(got: &Value, want: &Value) -> Result<(), String> {
    if got == want { Ok(()) } else { Err(format!("{got} is not {want}")) }
}

fn provider() -> Provider {
    Provider::start(Config::of(Preset::KubernetesSandbox.issuer())).unwrap()
}

/// All that needs a right, with the issuer in an `AuthenticationConfiguration`.
fn everything(provider: &Provider) -> Value {
    let mut authentication = realm::authentication_of(provider);
    authentication["jwt"][0]["claimMappings"]["extra"] =
        json!([{"key": "example.org/team", "valueExpression": "claims.team"}]);
    json!({
        "fullnameOverride": "everything",
        "authenticationConfiguration": authentication,
        "tokenPassthrough": {"enabled": true},
        "extraImpersonationHeaders": {"clientIP": true, "headers": "cluster=blue"},
        "extraArgs": {
            "allow-reserved-groups": "system:viewers",
            "audit-policy-file": "/audit/policy.yaml",
            "audit-log-path": "/audit-log/audit.log",
            // No load balancer has to learn of the end.
            "shutdown-delay-duration": "0s",
        },
        "extraEnv": [{"name": "TZ", "value": "Etc/UTC"}],
        "extraVolumes": [
            {"name": "audit", "configMap": {"name": "audit-policy"}},
            {"name": "audit-log", "emptyDir": {}},
        ],
        "extraVolumeMounts": [
            {"name": "audit", "mountPath": "/audit", "readOnly": true},
            {"name": "audit-log", "mountPath": "/audit-log"},
        ],
    })
}

#[test]
fn the_pod_works_with_its_role_and_needs_every_rule_of_it() {
    for object in [
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot", "namespace": "login"}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "audit-policy", "namespace": "login"},
            "data": {"policy.yaml": "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Metadata}]}"}}),
    ] {
        cluster().apply(&object.to_string()).unwrap();
    }
    let provider = provider();
    let mut pod = Pod::start(cluster(), everything(&provider));
    pod.ready();
    let extras = json!({
        "authentication.kubernetes.io/credential-id": ["JTI=the-token"],
        "cluster": ["blue"],
        "example.org/team": ["red"],
        "remote-client-ip": ["127.0.0.1"],
    });
    let visitor = Visitor::new(provider, &pod, extras, true);
    let features = || visitor.features().and_then(|()| visitor.passthrough());
    until("every feature works", features);
    locked_down(&pod);
    until("the audit log has a request", || {
        let log = pod.file("audit-log", "audit.log");
        if log.contains(REVIEWS) { Ok(()) } else { Err(log) }
    });

    let rules = pod.rules();
    assert!(rules.len() > 12, "{rules:?}");
    for (index, rule) in rules.iter().enumerate() {
        let mut fewer = rules.clone();
        fewer.remove(index);
        pod.grant(&fewer);
        until(&format!("something fails without {rule}"), || match features() {
            Ok(()) => Err("everything works".to_owned()),
            Err(_) => Ok(()),
        });
        named(&mut pod, rule);
        pod.grant(&rules);
        until(&format!("every feature works again with {rule}"), features);
    }
    pod.renew_token();
    pod.ready();
    assert!(pod.end().success(), "{}", pod.log());
}

/// The program looks at its rights when its token is renewed, and says which is missing.
fn named(pod: &mut Pod<'_>, rule: &Value) {
    let resource = rule["resources"][0].as_str().unwrap();
    if resource == "userextras/scopes" {
        return; // What users may ask for by --as-user-extra is known to the role alone.
    }
    let before = pod.log().len();
    pod.renew_token();
    let says = format!("resources: [{resource:?}]");
    let line = until(&format!("{says} is named"), || {
        let log = pod.log().split_off(before);
        let line = log.lines().find(|line| line.contains(&says)).map(str::to_owned);
        line.ok_or(log)
    });
    let always = [
        "users",
        "groups",
        "uids",
        "cluster",
        "team",
        "credential-id",
        "client-ip",
        "tokenreviews",
    ];
    let unready = pod.probe().get("/readyz").unwrap().status != 200;
    let wanted = always.iter().any(|it| resource.ends_with(it)) && !resource.contains(ORIGINAL);
    assert_eq!(unready, wanted, "{resource}: {line}");
}

/// Nothing to write but volumes, nobody, no capability.
fn locked_down(pod: &Pod<'_>) {
    assert_eq!(pod.process("status", "Uid:"), "65532\t65532\t65532\t65532");
    assert_eq!(pod.process("status", "Gid:"), "65532\t65532\t65532\t65532");
    assert_eq!(pod.process("status", "NoNewPrivs:"), "1");
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(pod.process("status", set), "0000000000000000", "{set}");
    }
    let mounts = pod.process_file("mounts");
    let root = mounts.lines().find(|line| line.split(' ').nth(1) == Some("/")).unwrap();
    assert!(root.split(' ').nth(3).unwrap().split(',').any(|it| it == "ro"), "{root}");
    let environment = pod.process_file("environ");
    assert!(environment.split('\0').any(|it| it == "TZ=Etc/UTC"), "{environment}");
}

/// What the chart's `ServiceMonitor` keeps of a pod's 2,000 series.
fn few_series(pod: &Pod<'_>) {
    let values = std::fs::read_to_string(chart().join("values.yaml")).unwrap();
    let values: Value = serde_saphyr::from_str(&values).unwrap();
    let text = pod.probe().get("/metrics").unwrap().body;
    let mut lines: Vec<_> = text.lines().filter(|it| !it.starts_with('#')).collect();
    let all = lines.len();
    for rule in values["metrics"]["serviceMonitor"]["metricRelabelings"].as_array().unwrap() {
        let regex = Regex::new(&format!("^(?:{})$", rule["regex"].as_str().unwrap())).unwrap();
        let labels: Vec<_> = rule["sourceLabels"].as_array().unwrap().iter().collect();
        let keep = rule["action"] == "keep";
        lines.retain(|line| {
            let value = |label: &&Value| match label.as_str().unwrap() {
                "__name__" => line.split(['{', ' ']).next().unwrap(),
                name => line
                    .split_once(&format!("{name}=\""))
                    .map_or("", |(_, rest)| rest.split('"').next().unwrap()),
            };
            let joined: Vec<_> = labels.iter().map(value).collect();
            regex.is_match(&joined.join(";")) == keep
        });
    }
    eprintln!("{} of {all} series are kept", lines.len());
    assert!((20..300).contains(&lines.len()), "{} of {all}: {lines:#?}", lines.len());
}

/// The command of the pod of `helm test`.
fn asked_as_by_helm_test(pod: &Pod<'_>) {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.crt");
    std::fs::write(&ca, pod.ca()).unwrap();
    let probe = |more: &[&str]| {
        let server = format!("--server={}", pod.url());
        let output = std::process::Command::new(built::program())
            .args(["probe", &server])
            .args(more)
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let trusted = format!("--certificate-authority={}", ca.display());
    assert_eq!(probe(&[&trusted]), (true, String::new()));
    assert_eq!(probe(&["--insecure-skip-tls-verify"]), (true, String::new()));
    let (good, said) = probe(&[]);
    assert!(!good && said.contains("certificate"), "{said}");
}

/// kube-oidc-proxy's own values: the issuer by flags, its CA in a `ConfigMap`.
#[test]
fn the_pod_of_kube_oidc_proxys_values_works() {
    // Of whom there is a token that no issuer claims; this test may run alone.
    let robot = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot", "namespace": "login"}});
    cluster().apply(&robot.to_string()).unwrap();
    let provider = provider();
    let values = json!({
        "fullnameOverride": "flags",
        "oidc": {
            "clientId": realm::CLIENT, "issuerUrl": provider.issuer().url(), "caPEM": provider.ca_pem(),
            "usernameClaim": "preferred_username", "groupsClaim": "groups",
        },
        "extraArgs": {"allow-reserved-groups": "system:viewers"},
    });
    let mut pod = Pod::start(cluster(), values);
    pod.ready();
    let visitor = Visitor::new(provider, &pod, Value::Null, false);
    until("every feature works", || visitor.features());
    let refused = visitor.passthrough().unwrap_err();
    assert!(refused.contains("Unauthorized"), "{refused}");
    few_series(&pod);
    asked_as_by_helm_test(&pod);
    // By its user, with nothing to write to, as docs/init-and-doctor.md has it.
    let (well, said) = pod.doctor();
    assert!(well, "{said}");
    for want in
        ["one runs here, and is ready", "asked by Envoy", "all that this configuration needs"]
    {
        assert!(said.contains(want), "no {want:?} in {said}");
    }
}
