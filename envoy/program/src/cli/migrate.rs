//! `migrate-values`: the values of kube-oidc-proxy's charts as values of this project's chart.
//!
//! Sources: `values.yaml` and the templates of Jetstack's chart (v0.3.0), `TremoloSecurity`'s (1.0.9) and `RafPe`'s (1.4.0). Names
//! and meanings are kept by our chart; what is here is the rest: what means another image, what old templates did by accident,
//! and what was the old default and should be ours.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use serde_json::{Map, Value, json};

use super::{
    error::Error,
    files::read_or_stdin,
    output::{print_text, say},
};

/// Turn a values file of kube-oidc-proxy's charts (Jetstack, TremoloSecurity, RafPe) into one for this project's.
///
/// Prints the new file, and on standard error a line for each value that it changes or leaves out. Exits with 1 if a value
/// belongs to none of these charts: it is left out, and named.
#[expect(clippy::doc_markdown, reason = "these comments are what --help prints")]
#[derive(Debug, Args)]
pub struct MigrateValues {
    /// The old values, YAML or JSON; - for standard input
    #[arg(value_name = "FILE")]
    values: PathBuf,
}

/// Every value of the three charts: its path, and what becomes of it. A path ends where our chart takes all that is below.
const VALUES: &[(&str, Becomes)] = &[
    ("replicaCount", Becomes::Same),
    (
        "image.repository",
        Becomes::Nothing("it names kube-oidc-proxy's image: name this one's as your registry does"),
    ),
    (
        "image.tag",
        Becomes::Nothing("it is a version of kube-oidc-proxy's image; the chart has its own"),
    ),
    ("image.pullPolicy", Becomes::Same),
    ("imagePullSecrets", Becomes::Same),
    ("nameOverride", Becomes::Same),
    ("fullnameOverride", Becomes::Same),
    ("service.type", Becomes::Same),
    ("service.port", Becomes::Same),
    ("service.annotations", Becomes::Texts),
    ("service.loadBalancerIP", Becomes::Same),
    ("service.loadBalancerSourceRanges", Becomes::Same),
    ("service.internalTrafficPolicy", Becomes::Same),
    ("service.externalTrafficPolicy", Becomes::Same),
    ("service.trafficDistribution", Becomes::Same),
    ("service.sessionAffinity", Becomes::Same),
    ("tls.secretName", Becomes::Same),
    ("tls.certManager", Becomes::Same),
    ("tls.selfSigned", Becomes::Same),
    ("tls.issuerName", Becomes::Same),
    ("oidc.clientId", Becomes::Same),
    ("oidc.issuerUrl", Becomes::Same),
    ("oidc.usernameClaim", Becomes::Same),
    ("oidc.caPEM", Becomes::Same),
    ("oidc.usernamePrefix", Becomes::Same),
    ("oidc.groupsClaim", Becomes::Same),
    ("oidc.groupsPrefix", Becomes::Same),
    ("oidc.signingAlgs", Becomes::Same),
    ("oidc.requiredClaims", Becomes::Same),
    ("oidc.extraProviders", Becomes::Same),
    ("oidc.tlsClient.existingSecret", Becomes::Same),
    ("oidc.tlsClient.certKey", Becomes::Same),
    ("oidc.tlsClient.keyKey", Becomes::Same),
    ("authenticationConfig.content", Becomes::Same),
    ("readinessRequireAllIssuers", Becomes::Same),
    ("tokenPassthrough.enabled", Becomes::Same),
    ("tokenPassthrough.audiences", Becomes::Same),
    ("extraImpersonationHeaders.clientIP", Becomes::Same),
    ("extraImpersonationHeaders.headers", Becomes::Same),
    ("extraArgs", Becomes::Arguments),
    ("extraVolumeMounts", Becomes::Same),
    ("extraVolumes", Becomes::Same),
    ("ingress.enabled", Becomes::Same),
    ("ingress.annotations", Becomes::Texts),
    ("ingress.ingressClassName", Becomes::Same),
    ("ingress.hosts", Becomes::Same),
    ("ingress.tls", Becomes::Same),
    ("rollingUpdateStrategy", Becomes::Strategy),
    ("podDisruptionBudget.enabled", Becomes::Same),
    ("podDisruptionBudget.minAvailable", Becomes::Same),
    ("podDisruptionBudget.maxUnavailable", Becomes::Same),
    ("podDisruptionBudget.unhealthyPodEvictionPolicy", Becomes::Same),
    ("resources", Becomes::Resources),
    ("initContainers", Becomes::Same),
    ("nodeSelector", Becomes::Same),
    ("tolerations", Becomes::Same),
    ("affinity", Becomes::Same),
    ("topologySpreadConstraints", Becomes::Same),
    ("priorityClassName", Becomes::Same),
    ("podAnnotations", Becomes::Texts),
    ("podSecurityContext", Becomes::Same),
    ("securityContext", Becomes::Same),
    ("global", Becomes::Same),
];

/// Less than this a gateway does not start with.
const LEAST_MEMORY_MIB: u64 = 192;

#[derive(Clone, Copy)]
enum Becomes {
    /// Our chart has it under the same name with the same meaning. An empty one is our default.
    Same,
    /// A map of texts, whose values may have been numbers: old templates quoted them.
    Texts,
    /// Flags of kube-oidc-proxy.
    Arguments,
    /// A strategy, which old templates took as a text.
    Strategy,
    /// Requests and limits, made for a smaller program.
    Resources,
    /// Left out, for this reason.
    Nothing(&'static str),
}

impl MigrateValues {
    /// Does what the command line asks for.
    pub fn run(&self) -> Result<ExitCode, Error> {
        let name = self.values.display().to_string();
        let refused = |reason: String| Error::Document { path: name.clone(), reason };
        let text = read_or_stdin(&self.values)?;
        let text = String::from_utf8(text).map_err(|error| refused(error.to_string()))?;
        let old: Value = serde_saphyr::from_str(&text)
            .map_err(|error| refused(error.to_string().replace('\n', " ")))?;
        let old = match old {
            Value::Object(old) => old,
            Value::Null => Map::new(),
            _ => return Err(refused("values are a map of names".to_owned())),
        };
        let migrated = migrate(&old);
        for line in migrated.notes.iter().chain(&migrated.unknown) {
            say(line);
        }
        let yaml = serde_saphyr::to_string(&Value::Object(migrated.values))
            .map_err(|error| refused(error.to_string()))?;
        print_text(yaml)?;
        Ok(if migrated.unknown.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// What a file of values becomes.
#[derive(Debug, Default)]
struct Migrated {
    values: Map<String, Value>,
    /// What was changed or left out, and why: a line each.
    notes: Vec<String>,
    /// What none of the charts has: a line each.
    unknown: Vec<String>,
}

fn migrate(old: &Map<String, Value>) -> Migrated {
    let mut migrated = Migrated::default();
    below("", old, &mut migrated);
    together(&mut migrated);
    migrated
}

/// Takes what is below a path.
fn below(path: &str, fields: &Map<String, Value>, migrated: &mut Migrated) {
    for (name, value) in fields {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        if let Some((_, becomes)) = VALUES.iter().find(|(known, _)| *known == path) {
            take(&path, *becomes, value, migrated);
        } else if VALUES.iter().any(|(known, _)| known.starts_with(&format!("{path}."))) {
            match value {
                Value::Object(fields) => below(&path, fields, migrated),
                Value::Null => {}
                _ => migrated.unknown.push(format!("{path}: left out: it must be a map of names")),
            }
        } else {
            migrated.unknown.push(format!("{path}: left out: no chart of kube-oidc-proxy has it"));
        }
    }
}

fn take(path: &str, becomes: Becomes, value: &Value, migrated: &mut Migrated) {
    let empty = match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty() && !path.ends_with("ecurityContext"),
        Value::Bool(_) | Value::Number(_) => false,
    };
    if empty {
        return;
    }
    let value = match becomes {
        Becomes::Same => value.clone(),
        Becomes::Texts => texts(value),
        Becomes::Nothing(reason) => {
            migrated.notes.push(format!("{path}: left out: {reason}"));
            return;
        }
        Becomes::Arguments => arguments(value, &mut migrated.notes),
        Becomes::Strategy => match value.as_str().map(serde_saphyr::from_str::<Value>) {
            Some(Ok(strategy)) if strategy.is_object() => {
                migrated.notes.push(format!("{path}: a text before, a map now"));
                strategy
            }
            _ => value.clone(),
        },
        Becomes::Resources => resources(value, &mut migrated.notes),
    };
    put(&mut migrated.values, path, value);
}

fn put(values: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            values.insert(path.to_owned(), value);
        }
        Some((first, rest)) => {
            if let Value::Object(inner) = values.entry(first).or_insert_with(|| json!({})) {
                put(inner, rest, value);
            }
        }
    }
}

fn texts(value: &Value) -> Value {
    let text = |value: &Value| match value {
        Value::String(_) => value.clone(),
        _ => json!(value.to_string()),
    };
    match value {
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), text(value))).collect()
        }
        _ => value.clone(),
    }
}

/// Flags of kube-oidc-proxy that the gateway takes and that do something. What the chart itself says must stay its own.
fn arguments(value: &Value, notes: &mut Vec<String>) -> Value {
    const WITHOUT_EFFECT: &[&str] = &[
        "flush-interval",
        "kube-client-qps",
        "kube-client-burst",
        "disable-compression",
        "vmodule",
        "log-flush-frequency",
        "permit-address-sharing",
        "audit-log-mode",
        "audit-webhook-mode",
        "namespace",
        "as",
        "as-group",
        "as-uid",
        "as-user-extra",
    ];
    const THE_CHARTS: &[(&str, &str)] = &[
        ("secure-port", "the pod listens on 8443, the service on service.port"),
        ("readiness-probe-port", "the chart's probes ask port 8080"),
        ("tls-cert-file", "tls.secretName names the certificate"),
        ("tls-private-key-file", "tls.secretName names the certificate"),
    ];
    let Value::Object(fields) = value else { return value.clone() };
    let mut kept = Map::new();
    for (name, value) in fields {
        if WITHOUT_EFFECT.contains(&&**name) {
            notes.push(format!("extraArgs.{name}: left out: it has no effect here"));
        } else if let Some((_, reason)) = THE_CHARTS.iter().find(|(flag, _)| flag == name) {
            notes.push(format!("extraArgs.{name}: left out: {reason}"));
        } else {
            kept.insert(name.clone(), value.clone());
        }
    }
    Value::Object(kept)
}

/// Envoy needs more memory than kube-oidc-proxy did.
fn resources(value: &Value, notes: &mut Vec<String>) -> Value {
    let mut value = value.clone();
    for kind in ["requests", "limits"] {
        let memory = value.pointer(&format!("/{kind}/memory")).and_then(mebibytes);
        if memory.is_some_and(|memory| memory < LEAST_MEMORY_MIB) {
            let least = if kind == "limits" { "256Mi" } else { "192Mi" };
            value[kind]["memory"] = json!(least);
            notes.push(format!(
                "resources.{kind}.memory: {least}: Envoy with the filter holds some 130 MiB before the first request"
            ));
        }
    }
    value
}

/// A quantity of memory, as far as values files have them; source: Kubernetes, `apimachinery/pkg/api/resource`.
fn mebibytes(quantity: &Value) -> Option<u64> {
    let text = match quantity {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return None,
    };
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let bytes = match unit {
        "" => 1,
        "k" => 1_000,
        "Ki" => 1 << 10,
        "M" => 1_000_000,
        "Mi" => 1 << 20,
        "G" => 1_000_000_000,
        "Gi" => 1 << 30,
        _ => return None,
    };
    Some(number.checked_mul(bytes)? >> 20)
}

/// What values mean together.
fn together(migrated: &mut Migrated) {
    let values = Value::Object(migrated.values.clone());
    let has = |pointer: &str| values.pointer(pointer).is_some_and(|value| !value.is_null());
    let is = |pointer: &str| values.pointer(pointer) == Some(&json!(true));
    if has("/authenticationConfig/content") {
        let issuer = [
            "clientId",
            "issuerUrl",
            "usernameClaim",
            "usernamePrefix",
            "groupsClaim",
            "groupsPrefix",
            "caPEM",
            "requiredClaims",
            "signingAlgs",
        ];
        if let Some(Value::Object(oidc)) = migrated.values.get_mut("oidc") {
            for name in issuer {
                if oidc.remove(name).is_some() {
                    let why = "authenticationConfig.content counts in its place, as before";
                    migrated.notes.push(format!("oidc.{name}: left out: {why}"));
                }
            }
        }
    }
    if is("/ingress/enabled") {
        let why = "the Ingress must pass TLS through: a controller that ends it sees tokens and breaks kubectl exec";
        migrated.notes.push(format!("ingress: kept: {why}"));
    }
    if is("/podDisruptionBudget/enabled")
        && !has("/podDisruptionBudget/maxUnavailable")
        && let (Some(least), Some(replicas)) = (
            values.pointer("/podDisruptionBudget/minAvailable").and_then(Value::as_u64),
            values.pointer("/replicaCount").and_then(Value::as_u64),
        )
        && least >= replicas
    {
        let why = "the chart makes no budget that lets no pod go";
        migrated.notes.push(format!("podDisruptionBudget.minAvailable: kept: {why}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn migrated(values: &Value) -> Migrated {
        migrate(values.as_object().unwrap())
    }

    #[test]
    fn what_is_the_same_stays_and_what_was_empty_goes() {
        let got = migrated(&json!({
            "replicaCount": 1,
            "image": {"repository": "ghcr.example/kube-oidc-proxy", "tag": "1.4.0", "pullPolicy": "Never"},
            "service": {"annotations": {"internal": true}, "loadBalancerIP": "", "trafficDistribution": "PreferClose"},
            "tls": {"secretName": null},
            "oidc": {"clientId": "a", "caPEM": null, "tlsClient": {"existingSecret": "client", "certKey": "tls.crt"}},
            "extraVolumes": {}, "extraVolumeMounts": [],
            "podSecurityContext": {},
            "readinessRequireAllIssuers": false,
        }));
        assert_eq!(
            Value::Object(got.values),
            json!({
                "replicaCount": 1,
                "image": {"pullPolicy": "Never"},
                "service": {"annotations": {"internal": "true"}, "trafficDistribution": "PreferClose"},
                "oidc": {"clientId": "a", "tlsClient": {"existingSecret": "client", "certKey": "tls.crt"}},
                "podSecurityContext": {},
                "readinessRequireAllIssuers": false,
            })
        );
        assert_eq!(got.notes.len(), 2, "{:?}", got.notes);
        assert_eq!(got.unknown, [""; 0]);
    }

    #[test]
    fn what_changes_is_named() {
        for (values, pointer, want, note) in [
            (
                json!({"extraArgs": {"audit-log-path": "-", "kube-client-qps": 5, "secure-port": 443}}),
                "/extraArgs",
                json!({"audit-log-path": "-"}),
                "extraArgs.kube-client-qps: left out: it has no effect here",
            ),
            (
                json!({"extraArgs": {"secure-port": 443}}),
                "/extraArgs",
                json!({}),
                "extraArgs.secure-port: left out: the pod listens on 8443",
            ),
            (
                json!({"resources": {"limits": {"cpu": "100m", "memory": "128Mi"}}}),
                "/resources/limits",
                json!({"cpu": "100m", "memory": "256Mi"}),
                "resources.limits.memory: 256Mi",
            ),
            (
                json!({"resources": {"requests": {"memory": 134_217_728}}}),
                "/resources/requests/memory",
                json!("192Mi"),
                "resources.requests.memory: 192Mi",
            ),
            // Its template put the value there as it was: only a text could work.
            (
                json!({"rollingUpdateStrategy": "type: Recreate\n"}),
                "/rollingUpdateStrategy",
                json!({"type": "Recreate"}),
                "rollingUpdateStrategy: a text before, a map now",
            ),
            (
                json!({"authenticationConfig": {"content": "jwt: []"}, "oidc": {"requiredClaims": {"hd": "a"}}}),
                "/oidc",
                json!({}),
                "oidc.requiredClaims: left out: authenticationConfig.content counts",
            ),
            (
                json!({"ingress": {"enabled": true}}),
                "/ingress/enabled",
                json!(true),
                "must pass TLS through",
            ),
            (
                json!({"replicaCount": 1, "podDisruptionBudget": {"enabled": true, "minAvailable": 1}}),
                "/podDisruptionBudget/minAvailable",
                json!(1),
                "no budget that lets no pod go",
            ),
        ] {
            let got = migrated(&values);
            let whole = Value::Object(got.values);
            assert_eq!(whole.pointer(pointer), Some(&want), "{values}");
            assert!(got.notes.iter().any(|line| line.contains(note)), "{:?}", got.notes);
        }
    }

    #[test]
    fn what_no_chart_has_is_named() {
        for (values, want) in [
            (json!({"odic": {}}), "odic: left out: no chart of kube-oidc-proxy has it"),
            (
                json!({"oidc": {"client": "a"}}),
                "oidc.client: left out: no chart of kube-oidc-proxy has it",
            ),
            (json!({"oidc": "a"}), "oidc: left out: it must be a map of names"),
        ] {
            let got = migrated(&values);
            assert_eq!(got.unknown, [want], "{values}");
            assert!(got.values.is_empty(), "{values}");
        }
    }

    #[test]
    fn quantities_of_memory() {
        for (quantity, want) in [
            (json!("128Mi"), Some(128)),
            (json!("1Gi"), Some(1024)),
            (json!("200M"), Some(190)),
            (json!("262144Ki"), Some(256)),
            (json!(268_435_456), Some(256)),
            (json!("0.5Gi"), None), // left as it is
            (json!("much"), None),
            (json!(null), None),
        ] {
            assert_eq!(mebibytes(&quantity), want, "{quantity}");
        }
    }
}
