//! What is rendered, to the letter; and what is said of values that are wrong.

use std::{env, fs, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::helm::{chart, helm, installed, rendered, values};

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
    assert_golden(&folder.join("gateway.yaml"), &installed(&folder.join("values.yaml")));
}

/// Helm reads nothing outside of a chart: the files are there, and deploy/monitoring has links to them.
#[test]
fn the_alerts_and_the_dashboards_are_there_once() {
    let from = chart().join("../../monitoring");
    for name in ["alerts.yaml", "dashboards"] {
        let link = fs::read_link(from.join(name)).unwrap();
        assert_eq!(link, Path::new("../helm/kube-oidc-gateway/monitoring").join(name));
        assert!(from.join(name).exists());
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

const GATEWAY: &str = "gatewayConfiguration.apiVersion=gateway.kube-oidc.dev/v1alpha1,gatewayConfiguration.kind=GatewayConfiguration";
const AUTHENTICATION: &str = "authenticationConfiguration.apiVersion=apiserver.config.k8s.io/v1,\
    authenticationConfiguration.kind=AuthenticationConfiguration,\
    authenticationConfiguration.jwt[0].issuer.url=https://i.example,\
    authenticationConfiguration.jwt[0].issuer.audiences[0]=a,\
    authenticationConfiguration.jwt[0].claimMappings.username.claim=sub";

const PORTAL: &str = "portal.configuration.apiVersion=gateway.kube-oidc.dev/v1alpha1,portal.configuration.kind=PortalConfiguration,\
    portal.configuration.host=portal.example";
/// What lends a group.
const LENDING: &str = "oidc.clientId=c,oidc.issuerUrl=https://i.example,elevation.enabled=true,\
    gatewayConfiguration.apiVersion=gateway.kube-oidc.dev/v1alpha1,gatewayConfiguration.kind=GatewayConfiguration,\
    gatewayConfiguration.elevation.rules[0].name=a,\
    portal.configuration.apiVersion=gateway.kube-oidc.dev/v1alpha1,portal.configuration.kind=PortalConfiguration,\
    portal.configuration.host=portal.example";

/// A group source whose credential is in one of the chart's Secrets.
const SOURCE: &str = "credentials[0].name=other,credentials[0].secretName=x,gatewayConfiguration.groupSources[0].name=a,\
    gatewayConfiguration.groupSources[0].issuer=https://i.example,gatewayConfiguration.groupSources[0].provider=entra,\
    gatewayConfiguration.groupSources[0].credential.bearerTokenFile=/etc/kube-oidc-gateway/credentials/directory/token";

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
            &format!("{good},{GATEWAY},tokenPassthrough.enabled=true"),
            "set them there (tokenReview, extras, corsAllowedOrigins)",
        ),
        (
            &format!("{good},{GATEWAY},existingGatewayConfigMap=y"),
            "gatewayConfiguration and existingGatewayConfigMap: give one of them",
        ),
        (
            &format!("{good},{GATEWAY},kubernetesRules=1.38"),
            "kubernetesRules is a field of the GatewayConfiguration",
        ),
        (
            &format!("{good},credentials[0].name=a"),
            "at '/credentials/0': missing property 'secretName'",
        ),
        (
            &format!("{good},credentials[0].name=A_b,credentials[0].secretName=x"),
            "at '/credentials/0/name'",
        ),
        (
            &format!(
                "{good},credentials[0].name=a,credentials[0].secretName=x,credentials[1].name=a,credentials[1].secretName=y"
            ),
            "credentials: the name a is there twice",
        ),
        (&format!("{good},{GATEWAY},{SOURCE}"), "credentials has no Secret of the name directory"),
        (&format!("{good},kubernetesRules=1.35"), "at '/kubernetesRules': value must be one of"),
        (&format!("{good},filterForm=dll"), "at '/filterForm': value must be one of"),
        (&format!("{good},extraArgs.filter-form=native"), "the value filterForm says it"),
        (
            &format!("{good},extraArgs.allow-vulnerable-envoy=true"),
            "an Envoy with CVE-2026-73548 lets a client act as the gateway",
        ),
        // A misspelt field of a document was found when pods did not become ready.
        (
            &format!("{good},{GATEWAY},gatewayConfiguration.clientImpersonaton=reject"),
            "at '/gatewayConfiguration': additional properties 'clientImpersonaton' not allowed",
        ),
        (
            &format!("{good},{GATEWAY},gatewayConfiguration.limits.groups=many"),
            "at '/gatewayConfiguration/limits/groups': got string, want",
        ),
        (
            &format!("{AUTHENTICATION},authenticationConfiguration.jwt[0].issuer.audience=a"),
            "at '/authenticationConfiguration/jwt/0/issuer': additional properties 'audience' not allowed",
        ),
        (
            &format!("{good},portal.configuration.kind=PortalConfiguration"),
            "at '/portal/configuration': missing properties 'apiVersion', 'host'",
        ),
        // Budgets that let no pod go, so that no node can be drained.
        (&format!("{good},podDisruptionBudget.maxUnavailable=0"), "at '/podDisruptionBudget/max"),
        (&format!("{good},podDisruptionBudget.minAvailable=100%"), "at '/podDisruptionBudget/min"),
        (&format!("{good},image.digest=sha256:abc"), "at '/image/digest'"),
        (&format!("{good},livenessProbe.path=/x"), "additional properties 'path' not allowed"),
        (&format!("{good},tlsRoute.enabled=true"), "tlsRoute.parentRefs is needed"),
        (&format!("{good},tls.serviceNames=false"), "tls.dnsNames or tls.ipAddresses is needed"),
        (&format!("{good},elevation.enabled=true"), "elevation.enabled needs portal.configuration"),
        (
            &format!("{good},{PORTAL},elevation.enabled=true"),
            "elevation.enabled lends nothing without gatewayConfiguration.elevation.rules",
        ),
        (
            &format!("{good},elevation.webhook.secretName=x"),
            "elevation.webhook.secretName is for elevation.enabled",
        ),
        (
            &format!(
                "{LENDING},access.enabled=true,access.configMapName=a,elevation.configMapName=a"
            ),
            "elevation.configMapName and access.configMapName must be two",
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

/// `helm template` with some values, of which only one file is of interest.
fn one(file: &str, set: &str) -> String {
    let chart = chart();
    let set = format!("oidc.clientId=c,oidc.issuerUrl=https://i.example,{set}");
    let output = helm(["template", "gateway", chart.to_str().unwrap(), "--set", &set]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{set}: {}", String::from_utf8_lossy(&output.stderr));
    let source = format!("# Source: kube-oidc-gateway/templates/{file}.yaml\n");
    let documents = text.split("---\n").filter(|document| document.starts_with(&source));
    documents.collect()
}

/// One worker for each CPU of a node with 64 took 246 MiB, whatever the pod might use.
#[test]
fn workers_follow_the_cpu_limit() {
    for (set, want) in [
        ("resources.limits.cpu=null", "2"),
        ("resources.limits.cpu=500m", "1"),
        ("resources.limits.cpu=1001m", "2"),
        ("resources.limits.cpu=4", "4"),
        ("resources.limits.cpu=2.5", "3"),
        ("resources.limits.cpu=4,concurrency=7", "7"),
        ("extraArgs.concurrency=5", "5"),
    ] {
        let deployment = one("deployment", set);
        let flags: Vec<_> = deployment.lines().filter(|it| it.contains("--concurrency=")).collect();
        assert!(flags.len() == 1, "{set}: {flags:?}");
        assert!(flags[0].trim_end_matches('"').ends_with(&format!("={want}")), "{set}: {flags:?}");
    }
}

/// Streams ended some 20 s after SIGTERM, while the grace period was 60 s and more.
#[test]
fn streams_may_end_as_long_as_the_grace_period_says() {
    let deployment = one("deployment", "terminationGracePeriodSeconds=300,preStopSeconds=20");
    for want in [
        "terminationGracePeriodSeconds: 325",
        "--shutdown-delay-duration=20s",
        "--drain-duration=300s",
    ] {
        assert!(deployment.contains(want), "{want}");
    }
}

/// A drain waits for a budget for ever that lets no pod go.
#[test]
fn no_budget_stops_every_drain() {
    for (set, want) in [
        ("replicaCount=2", "  maxUnavailable: 1\n"),
        ("replicaCount=1", "  maxUnavailable: 1\n"),
        ("replicaCount=2,podDisruptionBudget.minAvailable=1", "  minAvailable: 1\n"),
        ("replicaCount=1,podDisruptionBudget.minAvailable=1", ""),
        ("replicaCount=9,podDisruptionBudget.minAvailable=3,autoscaling.enabled=true", ""),
        ("replicaCount=1,podDisruptionBudget.minAvailable=50%", "  minAvailable: 50%\n"),
        (
            "replicaCount=1,podDisruptionBudget.minAvailable=1,podDisruptionBudget.maxUnavailable=25%",
            "  maxUnavailable: 25%\n",
        ),
    ] {
        let objects = one("autoscaling", &format!("{set},podDisruptionBudget.enabled=true"));
        let budget = objects.split_once("kind: PodDisruptionBudget").map_or("", |it| it.1);
        assert_eq!(budget.is_empty(), want.is_empty(), "{set}");
        assert!(budget.contains(want), "{set}: {budget}");
    }
}

/// Who may write the grants lends what the rules allow.
#[test]
fn the_gateway_may_write_the_grants_and_no_other_object() {
    let own = one("elevation", LENDING);
    let names: Vec<_> = own.lines().filter(|line| line.contains("resourceNames")).collect();
    assert_eq!(names, ["    resourceNames: [\"gateway-kube-oidc-gateway-grants\"]"], "{own}");
    let verbs: Vec<_> = own.lines().filter(|line| line.contains("verbs")).collect();
    assert_eq!(verbs, ["    verbs: [get, watch, update]"], "{own}");
    assert!(own.contains("helm.sh/resource-policy: keep") && !own.contains("\ndata:"), "{own}");
    let others = one("elevation", &format!("{LENDING},elevation.configMapName=lent"));
    assert!(others.contains("resourceNames: [\"lent\"]"), "{others}");
    assert!(!others.contains("kind: ConfigMap"), "{others}");
    let nobodys = one("elevation", &format!("{LENDING},rbac.create=false"));
    assert!(!nobodys.contains("kind: Role"), "{nobodys}");
}

/// Public issuers sign no name that ends in `svc.cluster.local`.
#[test]
fn a_public_issuer_is_asked_for_public_names_alone() {
    let set = "tls.certManager=true,tls.selfSigned=false,tls.issuerName=public,tls.issuerKind=ClusterIssuer,\
        tls.serviceNames=false,tls.dnsNames={kubernetes.example.com}";
    let certificate = one("certificate", set);
    assert!(certificate.contains("  dnsNames:\n    - kubernetes.example.com\n"), "{certificate}");
    assert!(!certificate.contains("svc"), "{certificate}");
}

/// `kubectl oidc setup --ca-fingerprint` finds the CA in what the server shows.
#[test]
fn a_certificate_of_helms_comes_with_its_ca() {
    let text = one("certificate", "tls.madeBy=helm");
    let secret = text.split("---\n").next().unwrap();
    let file = |name: &str| {
        let line = secret.lines().find_map(|line| line.trim().strip_prefix(name)).unwrap();
        String::from_utf8(STANDARD.decode(line.trim().trim_matches('"')).unwrap()).unwrap()
    };
    let (chain, ca) = (file("tls.crt:"), file("ca.crt:"));
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2, "{chain}");
    assert!(chain.ends_with(&ca), "{chain}");
}
