//! Every signing algorithm of kube-apiserver, and the keys that are too weak or of the wrong kind for theirs.

use std::{fs, process::Command};

use gateway_tests::built;
use oidc_provider::{Algorithm, IssuerConfig, Preset, SignWith, SigningKey};
use sandbox::realm;

use crate::{
    harness::{Probe, Rig, until},
    wire::{Ask, Version},
};

const ALL: [Algorithm; 9] = [
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::Es512,
];

const ML_DSA: [Algorithm; 3] = [Algorithm::MlDsa44, Algorithm::MlDsa65, Algorithm::MlDsa87];

const GATEWAY: &str = "apiVersion: gateway.kube-oidc.dev/v1alpha1\nkind: GatewayConfiguration\n";

fn rig() -> Rig {
    let realm: IssuerConfig = Preset::KubernetesSandbox.issuer().algorithms(ALL);
    Rig::builder().issuer(realm).start()
}

/// The status of a request with this token, which must be the API server's own if it is 200, and 401 if not.
fn status(rig: &Rig, token: &str) -> u16 {
    let probe = Probe::new();
    let ask = Ask::new("GET", &probe.path()).bearer(token);
    let status = ask.send(&rig.gateway, Version::H2).unwrap().status;
    if status == 200 {
        assert_eq!(probe.completed().impersonated_user.unwrap().username, rig.user());
    } else {
        probe.assert_untouched();
    }
    status
}

#[test]
fn every_algorithm_of_kube_apiserver_is_taken() {
    let rig = rig();
    for algorithm in ALL {
        let good = rig.token().sign(SignWith::Algorithm(algorithm)).mint();
        assert_eq!(status(&rig, &good), 200, "{algorithm:?}");
        // The same with one claim changed behind the signature.
        let (head, rest) = good.split_once('.').unwrap();
        let signature = rest.rsplit_once('.').unwrap().1;
        let other = rig.token().claim("jti", "other").sign(SignWith::Algorithm(algorithm)).mint();
        let payload = other.split('.').nth(1).unwrap();
        let forged = format!("{head}.{payload}.{signature}");
        assert_eq!(status(&rig, &forged), 401, "{algorithm:?}, forged");
    }
}

/// A key is of one kind, and of one curve: it signs by no other algorithm.
#[test]
fn a_key_signs_by_the_algorithms_of_its_kind_only() {
    let rig = rig();
    for (key, named) in [
        (Algorithm::Es256, "ES384"),
        (Algorithm::Es256, "ES512"),
        (Algorithm::Es384, "ES256"),
        (Algorithm::Es512, "ES256"),
        (Algorithm::Es256, "RS256"),
        (Algorithm::Rs256, "ES256"),
        (Algorithm::Rs256, "PS256"),
        (Algorithm::Ps256, "RS256"),
        (Algorithm::Rs256, "RS512"),
    ] {
        let token = rig.token().sign(SignWith::Algorithm(key)).header("alg", named).mint();
        assert_eq!(status(&rig, &token), 401, "{key:?} called {named}");
    }
}

#[test]
fn rsa_keys_below_2048_bits_are_not_taken() {
    let rig = rig();
    let short = SigningKey::short_rsa().with_kid("short");
    rig.issuer().publish(short);
    let token = rig.token().sign(SignWith::Kid("short".to_owned())).mint();
    assert_eq!(status(&rig, &token), 401);
    assert_eq!(status(&rig, &rig.token().mint()), 200, "the other keys of the set are good");
}

/// RFC 9964, with keys from the issuer's key set: kube-apiserver 1.38 has the algorithms, and reads no such keys from a set.
#[test]
fn ml_dsa_tokens_are_users_by_the_rules_of_1_38() {
    let realm: IssuerConfig = Preset::KubernetesSandbox.issuer().algorithms(ML_DSA);
    let mut configuration = realm::configuration();
    configuration["kubernetesRules"] = "1.38".into();
    let rig = Rig::builder().issuer(realm).configuration(configuration).start();
    for algorithm in ML_DSA {
        let good = rig.token().sign(SignWith::Algorithm(algorithm)).mint();
        assert_eq!(status(&rig, &good), 200, "{algorithm}");
        assert_eq!(status(&rig, &good), 200, "{algorithm}, from the cache");
        let (input, signature) = good.rsplit_once('.').unwrap();
        let other = rig.token().claim("jti", "other").sign(SignWith::Algorithm(algorithm)).mint();
        let forged = format!("{}.{signature}", other.rsplit_once('.').unwrap().0);
        assert_eq!(status(&rig, &forged), 401, "{algorithm}, forged");
        let cut = format!("{input}.{}", &signature[4..]);
        assert_eq!(status(&rig, &cut), 401, "{algorithm}, cut");
        let stranger = rig.token().sign(SignWith::Stranger(algorithm)).mint();
        assert_eq!(status(&rig, &stranger), 401, "{algorithm}, by another key");
    }
    for (key, named) in [(Algorithm::MlDsa44, "ML-DSA-65"), (Algorithm::MlDsa87, "ES256")] {
        let token = rig.token().sign(SignWith::Algorithm(key)).header("alg", named).mint();
        assert_eq!(status(&rig, &token), 401, "{key} called {named}");
    }
    // As a person has it: kubectl prints who the API server took the token for.
    let token = rig.token().sign(SignWith::Algorithm(Algorithm::MlDsa65)).mint();
    let who = rig.kubectl(token.clone()).must(["auth", "whoami"], "").unwrap();
    assert!(who.contains(&rig.user()), "{who}");
    let review = |settings: &str| {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let documents = realm::authentication_of(&rig.provider).to_string();
        let settings = format!("{GATEWAY}{settings}");
        let output = Command::new(built::program())
            .arg("review")
            .arg(format!("--authentication-config={}", file("authentication.yaml", &documents)))
            .arg(format!("--gateway-config={}", file("gateway.yaml", &settings)))
            .arg(format!("--token-file={}", file("token", &token)))
            .arg(format!("--run-dir={}", folder.path().display()))
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    };
    let viewers = "allowedReserved: {groups: ['system:viewers']}";
    let (authenticated, said) = review(&format!("kubernetesRules: '1.38'\n{viewers}"));
    assert!(authenticated && said.contains(&rig.user()), "{said}");
    // What the gateway's guard refuses is no user, whatever kube-apiserver would say.
    let (authenticated, said) = review("kubernetesRules: '1.38'\n");
    assert!(!authenticated && said.contains("rule reserved-group"), "{said}");
    let (authenticated, said) = review(&format!("kubernetesRules: '1.37'\n{viewers}"));
    assert!(!authenticated && said.contains("known by the rules of Kubernetes 1.38"), "{said}");
}

/// By the rules of 1.37 the same tokens are refused, and the log says since when they are known.
#[test]
fn ml_dsa_tokens_are_refused_by_the_rules_of_1_37() {
    let algorithms = [&[Algorithm::Es256][..], &ML_DSA].concat();
    let realm: IssuerConfig = Preset::KubernetesSandbox.issuer().algorithms(algorithms);
    let rig = Rig::builder().issuer(realm).start();
    assert_eq!(status(&rig, &rig.token().mint()), 200, "the other keys of the set are good");
    for algorithm in ML_DSA {
        let token = rig.token().sign(SignWith::Algorithm(algorithm)).mint();
        assert_eq!(status(&rig, &token), 401, "{algorithm}");
        let reason = format!("{algorithm}\\\" (known by the rules of Kubernetes 1.38");
        until("the log says why", || {
            let log = std::fs::read_to_string(rig.gateway.access_log()).unwrap();
            log.contains(&reason).then_some(())
        });
    }
}
