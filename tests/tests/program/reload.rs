//! Files that bring a new way to a server: Envoy asks whether it leads there, as requests will.

use std::net::SocketAddr;

use sandbox::{Authority, Manners, realm};
use serde_json::json;

use crate::{
    behaviour::whoami,
    haproxy::Haproxy,
    harness::{Rig, Setup, cluster, until},
};

fn reloads(rig: &Rig, input: &str, result: &str) -> f64 {
    rig.metric(&format!("gateway_reloads_total{{input=\"{input}\",result=\"{result}\"}}"))
}

/// Runs `change`, and waits until the input is so.
fn settles(rig: &mut Rig, input: &str, result: &str, change: impl FnOnce(&mut Rig)) {
    let before = reloads(rig, input, result);
    change(rig);
    let what = format!("{input} is {result}");
    until(&what, || (reloads(rig, input, result) > before).then_some(()));
}

/// The program's own TLS has no P-521, and Envoy's has: what requests would reach was refused.
#[test]
fn what_requests_reach_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let (front, stranger) = (Authority::new("front").unwrap(), Authority::new("other").unwrap());
    let kube_apiserver = SocketAddr::from(([127, 0, 0, 1], cluster().port()));
    let (bind, to) = ("curves P-521 alpn h2", "ssl verify none alpn h2");
    let server = Haproxy::start(folder.path(), &front, bind, kube_apiserver, to);
    let way = (format!("https://{}", server.address()), front.pem().to_owned());
    let mut rig =
        Rig::ready(&Setup { chart: false, server: Some(way), ..Setup::default() }, |files| {
            let config = files.config.display();
            vec![
                format!("--authentication-config={config}/authentication.yaml"),
                format!("--gateway-config={config}/gateway.yaml"),
            ]
        });
    let token = rig.token().mint();
    until("requests are served", || (whoami(&rig, &token, &[]).0 == 201).then_some(()));

    // The API server's CA.
    settles(&mut rig, "apiserver_ca", "refused", |rig| {
        rig.account.swap(&[("ca.crt", stranger.pem().as_bytes())]);
    });
    let log = rig.log();
    assert!(log.contains("the API server does not answer under it: "), "{log}");
    assert!(log.contains("CERTIFICATE_VERIFY_FAILED"), "in Envoy's words: {log}");
    let both = format!("{}{}", stranger.pem(), front.pem());
    settles(&mut rig, "apiserver_ca", "ok", |rig| {
        rig.account.swap(&[("ca.crt", both.as_bytes())]);
    });
    assert_eq!(whoami(&rig, &token, &[]).0, 201);

    // A new issuer, whose server has P-521 alone.
    let manners = Manners::builder(rig.issuer().jwks())
        .issuer(json!({"name": "P-521", "tls": {"groups": ["secp521r1"]}, "certificate": {"key": "p521"}}))
        .start()
        .unwrap();
    let served = manners.issuers()[0].clone();
    let document = |ca: &str| {
        let mut document = realm::authentication_of(&rig.provider);
        let mut more = document["jwt"][0].clone();
        more["issuer"]["url"] = json!(served.url);
        more["issuer"]["certificateAuthority"] = json!(ca);
        document["jwt"].as_array_mut().unwrap().push(more);
        document.to_string()
    };
    let (wrong, good) = (document(stranger.pem()), document(&served.ca));
    settles(&mut rig, "configuration", "refused", |rig| {
        rig.config.swap(&[("authentication.yaml", wrong.as_bytes())]);
    });
    let discovery = format!("issuer: GET {}/.well-known/openid-configuration: ", served.url);
    assert!(rig.log().contains(&discovery), "{}", rig.log());
    settles(&mut rig, "configuration", "ok", |rig| {
        rig.config.swap(&[("authentication.yaml", good.as_bytes())]);
    });
    let token = rig.token().claim("iss", served.url.as_str()).mint();
    until("its tokens are taken", || (whoami(&rig, &token, &[]).0 == 201).then_some(()));

    // What was there for the questions alone is gone.
    assert!(!rig.envoy_admin("/clusters").contains("apiserver_candidate"));
    assert!(!rig.log().contains("is asked by the program itself"), "{}", rig.log());
}
