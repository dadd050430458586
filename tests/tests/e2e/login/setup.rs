//! Two commands from nothing to an answer, and the policy of kubectl's own that is between them.

use sandbox::{Credential, realm};

use super::{person, run_signing_in, sign_in};
use crate::{harness::Rig, minor};

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
