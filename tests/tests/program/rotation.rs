//! Every file changes while 50 watches are open and 200 requests a second come: no request fails and no watch ends.

use sandbox::{Authority, realm};
use serde_json::json;

use crate::harness::{Load, Mount, Rig, Watches, cluster, token, until};

const PATH: &str = "/api/v1/namespaces/default/configmaps?limit=1";

#[test]
pub fn everything_is_swapped_under_load() {
    let authority = Authority::new("clients").unwrap();
    let [first, second] = ["first", "second"].map(|name| authority.client(name, &[]).unwrap());
    let mut others = None;
    let mut rig = Rig::with(
        |files| {
            let config = files.config.display();
            let folder = files.config.parent().unwrap().join("others");
            let mut mount = Mount::new(&folder);
            mount.swap(&[
                ("tls.crt", first.certificate.as_bytes()),
                ("tls.key", first.key.as_bytes()),
                ("system.pem", authority.pem().as_bytes()),
            ]);
            others = Some(mount);
            let at = |name: &str| folder.join(name).display().to_string();
            vec![
                format!("--oidc-tls-client-cert-file={}", at("tls.crt")),
                format!("--oidc-tls-client-key-file={}", at("tls.key")),
                format!("--system-ca-file={}", at("system.pem")),
                format!("--authentication-config={config}/authentication.yaml"),
                format!("--gateway-config={config}/gateway.yaml"),
            ]
        },
        false,
    );
    let mut others = others.unwrap();
    let taken = |rig: &Rig, input: &str, result: &str| {
        rig.metric(&format!("gateway_reloads_total{{input=\"{input}\",result=\"{result}\"}}"))
    };
    let user = rig.token().mint();
    let watches = Watches::open(&rig, &user, 50);
    let load = Load::start(&rig, &user, PATH, 8, 200);
    let settle = |rig: &Rig, input: &str, result: &str| {
        until(&format!("{input} is {result}"), || (taken(rig, input, result) > 0.0).then_some(()));
        // What is new must have served for a while.
        let before = load.good();
        until("requests after the swap", || (load.good() > before + 200).then_some(()));
    };

    // The serving certificate: first a pair that does not fit, then one of another CA, which new connections see.
    let old = rig.authority.server(&[]).unwrap();
    let pair = rig.authority.server(&["rotated.example"]).unwrap();
    rig.serving.swap(&[("crt.pem", pair.certificate.as_bytes()), ("key.pem", old.key.as_bytes())]);
    settle(&rig, "serving_certificate", "refused");
    assert!(rig.log().contains("the serving certificate has changed and is refused; the old one serves: key and certificate do not belong together"));
    rig.serving.swap(&[("crt.pem", pair.certificate.as_bytes()), ("key.pem", pair.key.as_bytes())]);
    settle(&rig, "serving_certificate", "ok");

    // The client certificate for issuers: half a pair, then a whole one.
    others.swap(&[("tls.crt", second.certificate.as_bytes())]);
    settle(&rig, "issuer_certificate", "refused");
    others.swap(&[("tls.key", second.key.as_bytes())]);
    settle(&rig, "issuer_certificate", "ok");

    // The system's bundle: not one at all, then another.
    others.swap(&[("system.pem", b"nonsense")]);
    settle(&rig, "system_ca", "refused");
    others.swap(&[("system.pem", rig.authority.pem().as_bytes())]);
    settle(&rig, "system_ca", "ok");

    // The gateway's token: one that the API server does not take, then a new one.
    rig.account.swap(&[("token", b"revoked")]);
    settle(&rig, "credential", "refused");
    let new = token();
    rig.account.swap(&[("token", new.as_bytes())]);
    settle(&rig, "credential", "ok");

    // The API server's CA: a valid bundle that did not sign its certificate is not handed on; one with both is.
    let stranger = Authority::new("stranger").unwrap();
    rig.account.swap(&[("ca.crt", stranger.pem().as_bytes())]);
    settle(&rig, "apiserver_ca", "refused");
    let both = format!("{}{}", stranger.pem(), cluster().ca());
    rig.account.swap(&[("ca.crt", both.as_bytes())]);
    settle(&rig, "apiserver_ca", "ok");

    // The configuration: one that kube-apiserver would refuse, one under whose CA the issuer does not answer, then one
    // with a new bundle for the issuer.
    let authentication =
        |ca: &str| realm::authentication(&rig.issuer(), ca, "preferred_username").to_string();
    let provider = rig.provider.ca_pem().to_owned();
    let (wrong, good) =
        (authentication(stranger.pem()), authentication(&format!("{provider}{}", stranger.pem())));
    let refused = |rig: &Rig| taken(rig, "configuration", "refused");
    rig.config.swap(&[(
        "authentication.yaml",
        b"{apiVersion: apiserver.config.k8s.io/v1, kind: AuthenticationConfiguration, jwt: [{}]}",
    )]);
    settle(&rig, "configuration", "refused");
    rig.config.swap(&[("authentication.yaml", wrong.as_bytes())]);
    until("the wrong CA is refused", || (refused(&rig) > 1.0).then_some(()));
    rig.config.swap(&[("authentication.yaml", good.as_bytes())]);
    settle(&rig, "configuration", "ok");
    let mut gateway = realm::configuration();
    gateway["extras"] = json!({"credentialId": false, "headers": {"scopes": ["a"]}});
    let before = taken(&rig, "configuration", "ok");
    rig.config.swap(&[("gateway.yaml", gateway.to_string().as_bytes())]);
    until("the settings are live", || (taken(&rig, "configuration", "ok") > before).then_some(()));

    assert_eq!(rig.probe().get("/readyz").unwrap().status, 200, "refused files leave it ready");
    assert_eq!(watches.still_open(), 50, "watches that ended");
    cluster().admin().must(["create", "configmap", "witness"], "").unwrap();
    until("every watch is alive", || (watches.witnesses() == 50).then_some(()));
    let (good, faults) = load.end();
    assert!(faults.is_empty(), "{} of {good}: {:?}", faults.len(), faults.first());
    assert!((rig.metric("gateway_envoy_starts_total") - 1.0).abs() < f64::EPSILON);
}
