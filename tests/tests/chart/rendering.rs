//! What is rendered, to the letter; and what is said of values that are wrong.

use std::{env, fs, path::Path};

use crate::helm::{chart, helm, rendered, values};

/// Keys are new with every rendering.
fn without_keys(text: &str) -> String {
    let masked = |line: &str| {
        let name = line.split(':').next().unwrap_or_default();
        match name.trim() {
            "tls.crt" | "tls.key" | "ca.crt" if !line.contains("ca.crt,") => {
                format!("{name}: (made by Helm)\n")
            }
            _ => format!("{line}\n"),
        }
    };
    text.lines().map(masked).collect()
}

#[test]
fn every_file_of_values_gives_its_golden_rendering() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chart/golden");
    for (name, values) in values() {
        let got = without_keys(&rendered(&values));
        assert_golden(&folder.join(format!("{name}.yaml")), &got);
    }
}

#[test]
fn the_plain_manifests_are_the_charts() {
    let folder = chart().join("../../kubernetes");
    assert_golden(&folder.join("gateway.yaml"), &rendered(&folder.join("values.yaml")));
}

/// Helm reads nothing outside of a chart, and warns of links that lead there.
#[test]
fn the_charts_alerts_and_dashboard_are_the_projects() {
    let from = chart().join("../../monitoring");
    for name in ["alerts.yaml", "dashboard.json"] {
        let project = fs::read_to_string(from.join(name)).unwrap();
        assert_golden(&chart().join("monitoring").join(name), &project);
    }
}

fn assert_golden(golden: &Path, got: &str) {
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(golden, got).unwrap();
    }
    let want = fs::read_to_string(golden).unwrap_or_default();
    let differing = want.lines().zip(got.lines()).position(|(want, got)| want != got);
    if let Some(line) = differing {
        let (want, got) = (want.lines().nth(line), got.lines().nth(line));
        panic!("{}, line {}:\n- {want:?}\n+ {got:?}", golden.display(), line + 1);
    }
    assert_eq!(want.lines().count(), got.lines().count(), "{}: lines", golden.display());
}

#[test]
fn helm_has_nothing_to_say_against_it() {
    let chart = chart();
    for (name, values) in values() {
        let output =
            helm(["lint", "--strict", chart.to_str().unwrap(), "-f", values.to_str().unwrap()]);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn wrong_values_are_named() {
    let chart = chart();
    let good = "oidc.clientId=c,oidc.issuerUrl=https://i.example";
    for (set, want) in [
        ("replicaCount=2", "oidc.clientId is needed, or an AuthenticationConfiguration"),
        ("oidc.clientId=c", "oidc.issuerUrl is needed, or an AuthenticationConfiguration"),
        (&format!("{good},odic.groupsClaim=g"), "additional properties 'odic' not allowed"),
        (&format!("{good},replicaCount=two"), "at '/replicaCount': got string, want integer"),
        (&format!("{good},oidc.signingAlgs={{HS256}}"), "at '/oidc/signingAlgs"),
        ("oidc.clientId=c,oidc.issuerUrl=http://i.example", "at '/oidc/issuerUrl'"),
        (&format!("{good},service.type=External"), "value must be one of 'ClusterIP'"),
        (
            &format!("{good},tls.certManager=true,tls.selfSigned=false"),
            "tls.issuerName is needed with tls.certManager",
        ),
        (
            &format!("{good},gatewayConfiguration.kind=x,tokenPassthrough.enabled=true"),
            "set them there (tokenReview, extras)",
        ),
        (
            &format!("{good},gatewayConfiguration.kind=x,existingGatewayConfigMap=y"),
            "gatewayConfiguration and existingGatewayConfigMap: give one of them",
        ),
        (
            &format!("{good},gatewayConfiguration.kind=x,kubernetesRules=1.38"),
            "kubernetesRules is a field of the GatewayConfiguration",
        ),
        (&format!("{good},kubernetesRules=1.35"), "at '/kubernetesRules': value must be one of"),
        (
            &format!("{good},extraArgs.allow-vulnerable-envoy=true"),
            "an Envoy with CVE-2026-73548 lets a client act as the gateway",
        ),
        (
            &format!("{good},portal.secretName=x"),
            "portal.secretName is for the files that portal.configuration names",
        ),
    ] {
        let output = helm(["template", "gateway", chart.to_str().unwrap(), "--set", set]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(want), "{set}: {said}");
    }
}
