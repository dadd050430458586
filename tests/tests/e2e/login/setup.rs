//! Two commands from nothing to an answer, and the policy of kubectl's own that is between them.

use rustls::pki_types::{CertificateDer, pem::PemObject};
use sandbox::{Credential, realm};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{person, run_signing_in, sign_in};
use crate::{harness::Rig, minor};

/// As `openssl x509 -noout -fingerprint -sha256` prints it.
fn fingerprint(pem: &str) -> String {
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let digest = Sha256::digest(&certificate);
    digest.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

/// One address and one fingerprint: issuer, client and the CA are the gateway's to say.
#[test]
fn a_gateway_says_itself_where_to_log_in() {
    let rig = Rig::new();
    let url = rig.gateway.url();
    let mut configuration = rig.configuration();
    configuration["protectedResource"] = json!({"url": url, "clusterName": "told: #1"});
    let authentication = realm::authentication_of(&rig.provider);
    rig.gateway.configure(&authentication, Some(&configuration)).unwrap();
    let person = person();
    let kubeconfig = person.path("config");
    let kubectl = rig.gateway.kubectl(Credential::None).unwrap();
    let kubectl =
        person.takes(kubectl).environment("KUBECONFIG", &kubeconfig.display().to_string());
    // The issuer's certificate is this machine's own matter.
    let ca =
        format!("--certificate-authority={}", person.file("issuer.crt", rig.provider.ca_pem()));
    let print = format!("--ca-fingerprint={}", fingerprint(rig.gateway.ca()));
    let setup = |url: &str, more: &[&str]| {
        let words = [&["oidc", "setup", url, &ca][..], more].concat();
        words.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let other = fingerprint(rig.provider.ca_pem());
    // Its certificate is for this name, too; its document is not.
    let localhost = url.replace("127.0.0.1", "localhost");
    let untold = Rig::shared();
    let print_of_untold = format!("--ca-fingerprint={}", fingerprint(untold.gateway.ca()));
    for (words, want) in [
        (setup(&url, &["--yes"]), "no certificate authority known here signed it"),
        (setup(&url, &[&format!("--ca-fingerprint={other}"), "--yes"]), "none has the fingerprint"),
        (setup(&localhost, &[&print, "--yes"]), "says that it is"),
        (
            setup(&untold.gateway.url(), &[&print_of_untold, "--yes"]),
            "does not say where to log in",
        ),
        (setup(&url, &[&print, "--issuer=https://other.example", "--yes"]), "has no issuer"),
        (setup(&url, &[&print]), "nobody is there to agree to this"),
    ] {
        let refused = kubectl.run(&words).unwrap();
        assert!(!refused.success() && refused.stderr.contains(want), "{words:?}: {refused:?}");
        assert!(!kubeconfig.exists() && person.visits().is_empty(), "{words:?}");
    }

    let words = setup(&url, &[&print, "--yes"]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let output = run_signing_in(&kubectl, &words, || {
        sign_in(&rig, &person, 1, "k8s-user1", &realm::password("k8s-user1"));
    });
    assert!(output.success(), "{output:?}");
    for said in [rig.issuer().url(), realm::CLIENT, "told: #1", &*rig.user()] {
        assert!(output.stderr.contains(said), "no {said:?} in {}", output.stderr);
    }
    let pods = kubectl.run(["get", "pods", "--all-namespaces"]).unwrap();
    assert!(pods.success(), "{pods:?}");
    let me = kubectl.must(["--context", "told: #1", "auth", "whoami"], "").unwrap();
    assert!(me.contains(&rig.user()), "{me}");
    assert_eq!(person.visits().len(), 1);
}

const TROUBLESHOOTING: &str = include_str!("../../../../docs/troubleshooting.md");

#[test]
fn setup_and_then_an_answer() {
    let rig = Rig::shared();
    let person = person();
    let kubeconfig = person.path("config");
    let kubectl = rig.gateway.kubectl(Credential::None).unwrap();
    let kubectl =
        person.takes(kubectl).environment("KUBECONFIG", &kubeconfig.display().to_string());
    let flag = |name: &str, value: &str| format!("--{name}={value}");
    let setup = [
        "oidc".to_owned(),
        "setup".to_owned(),
        flag("server", &rig.gateway.url()),
        flag("cluster-certificate-authority", &person.file("gateway.crt", rig.gateway.ca())),
        flag("oidc-issuer-url", rig.issuer().url()),
        flag("certificate-authority", &person.file("issuer.crt", rig.provider.ca_pem())),
        flag("oidc-client-id", realm::CLIENT),
    ];
    assert!(!kubeconfig.exists());
    let setup: Vec<&str> = setup.iter().map(String::as_str).collect();
    let output = run_signing_in(&kubectl, &setup, || {
        sign_in(&rig, &person, 1, "k8s-user1", &realm::password("k8s-user1"));
    });
    assert!(output.success(), "{output:?}");
    // What the cluster makes of the login.
    for said in [&*rig.user(), "system:viewers, system:authenticated", "Written: "] {
        assert!(output.stderr.contains(said), "no {said:?} in {}", output.stderr);
    }
    let table = kubectl.must(["get", "namespaces"], "").unwrap();
    assert!(table.contains("kube-system"), "{table}");
    assert_eq!(person.visits().len(), 1);

    // A policy that forbids the plugin: kubectl says so, and runs again by the command that setup prints.
    std::fs::create_dir_all(person.path(".kube")).unwrap();
    let kuberc = person.path(".kube/kuberc").display().to_string();
    let kubectl = kubectl.environment("KUBERC", &kuberc);
    // 1.35 has the policies and not the command, and calls an entry of the list by another name.
    let has_kuberc = !["1.34", "1.35"].contains(&&*minor::kubectl());
    let aws = if has_kuberc { "- command: aws\n" } else { "- name: aws\n" };
    let head = "apiVersion: kubectl.config.k8s.io/v1beta1\nkind: Preference\n";
    let list = "credentialPluginPolicy: Allowlist\ncredentialPluginAllowlist:\n";
    for (policy, message) in [
        ("credentialPluginPolicy: DenyAll\n".to_owned(), "not allowed: policy set to \"DenyAll\""),
        (format!("{list}{aws}"), "is not permitted by the credential plugin allowlist"),
    ] {
        let _ = person.file(".kube/kuberc", &format!("{head}{policy}"));
        let refused = kubectl.run(["get", "namespaces"]).unwrap();
        if minor::kubectl() == "1.34" {
            let unknown = "unknown field \"credentialPluginPolicy\"";
            assert!(refused.success() && refused.stderr.contains(unknown), "{refused:?}");
            return;
        }
        assert!(!refused.success() && refused.stderr.contains(message), "{refused:?}");
        assert!(TROUBLESHOOTING.contains(message), "docs/troubleshooting.md lacks {message}");
        let output = kubectl.run(&setup).unwrap();
        assert!(output.success(), "{output:?}");
        let printed = output.stderr.split_once("allow it with: kubectl ");
        let (_, printed) = printed.unwrap_or_else(|| panic!("no command in {}", output.stderr));
        let (command, older) = printed.split_once(" (kubectl before 1.36: ").unwrap();
        if has_kuberc {
            kubectl.must(command.split(' '), "").unwrap();
        } else {
            let (_, entry) = older.split_once("into credentialPluginAllowlist: ").unwrap();
            let entry = entry.split_once(')').unwrap().0;
            let others = if policy.contains("aws") { aws } else { "" };
            let _ = person.file(".kube/kuberc", &format!("{head}{list}{others}{entry}\n"));
        }
        kubectl.must(["get", "namespaces"], "").unwrap();
    }
    let kept = std::fs::read_to_string(person.path(".kube/kuberc")).unwrap();
    assert!(kept.contains("aws"), "{kept}");
}
