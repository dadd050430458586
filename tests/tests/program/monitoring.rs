//! What Prometheus sees of a gateway: how many series, in which units; and, outside of CI, that no alert fires on a fresh one.

use std::{
    env, fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use regex_lite::Regex;
use sandbox::{Port, Program};
use serde_json::{Value, json};

use crate::{
    behaviour::whoami,
    harness::{Rig, cluster, until},
};

/// What a pod's series may cost an operator.
const MOST_SERIES: usize = 300;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&fs::read_to_string(root().join(path)).unwrap()).unwrap()
}

/// The chart's relabelings of what is read.
fn relabelings() -> Value {
    yaml("deploy/helm/kube-oidc-gateway/values.yaml")["metrics"]["serviceMonitor"]
        ["metricRelabelings"]
        .clone()
}

/// Whether Prometheus keeps a sample, by relabelings of the actions keep and drop.
fn is_kept(sample: &str, relabelings: &Value) -> bool {
    let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
    let name = name.split(' ').next().unwrap();
    let value = |label: &str| {
        if label == "__name__" {
            return name.to_owned();
        }
        let rest = labels.split_once(&format!("{label}=\"")).map(|(_, rest)| rest);
        rest.and_then(|it| it.split('"').next()).unwrap_or_default().to_owned()
    };
    relabelings.as_array().unwrap().iter().all(|rule| {
        let labels = rule["sourceLabels"].as_array().unwrap().iter();
        let joined: Vec<_> = labels.map(|label| value(label.as_str().unwrap())).collect();
        let regex = Regex::new(&format!("^(?:{})$", rule["regex"].as_str().unwrap())).unwrap();
        match rule["action"].as_str().unwrap() {
            "keep" => regex.is_match(&joined.join(";")),
            "drop" => !regex.is_match(&joined.join(";")),
            other => panic!("{other}"),
        }
    })
}

/// A watch of a minute hides nothing, and a pod costs Prometheus less than 300 of the 2,000 series that Envoy has.
#[test]
fn durations_are_in_seconds_without_watches_and_series_are_few() {
    let rig = Rig::new(&["--token-passthrough"]);
    let token = rig.token().mint();
    let kubectl = rig.kubectl(token.clone());
    let watch = "/api/v1/namespaces/default/pods?watch=true&timeoutSeconds=3";
    kubectl.must(["get", "--raw", watch], "").unwrap();
    for _ in 0..3 {
        assert_eq!(whoami(&rig, &token, &[]).0, 201);
        assert_eq!(whoami(&rig, "nonsense", &[]).0, 401);
    }
    let text = until("the watch is counted", || {
        let text = rig.probe().get("/metrics").unwrap().body;
        let counted = text.lines().any(|line| {
            line.starts_with("gateway_apiserver_request_seconds_count{kind=\"watches\"")
                && !line.ends_with(" 0")
        });
        (counted && text.contains("gateway_apiserver_request_seconds_count{kind=\"other\""))
            .then_some(text)
    });
    let sum = |kind: &str| {
        let begin = format!("gateway_apiserver_request_seconds_sum{{kind=\"{kind}\"");
        let line = text.lines().find(|line| line.starts_with(&begin)).expect(&begin);
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert!((2.5..60.0).contains(&sum("watches")), "{}", sum("watches"));
    assert!(sum("other") < 2.5, "{}", sum("other"));
    assert!(text.contains("gateway_authentication_seconds_bucket{le=\"0.00025\"}"), "{text}");
    assert!(!text.contains("\ngateway_authentication_microseconds"));

    let samples = || text.lines().filter(|line| !line.starts_with('#'));
    let relabelings = relabelings();
    let kept: Vec<_> = samples().filter(|sample| is_kept(sample, &relabelings)).collect();
    assert!(samples().count() > 4 * kept.len(), "{} of {}", kept.len(), samples().count());
    assert!(kept.len() < MOST_SERIES, "{} series:\n{}", kept.len(), kept.join("\n"));
    println!("{} of {} series are kept", kept.len(), samples().count());
}

/// Spans are lost, and nothing else. `make test-traces` has a collector that is there.
#[test]
fn a_collector_that_is_away_costs_no_request() {
    let nobody = Port::reserve().unwrap();
    let rig = Rig::new(&[
        &format!("--tracing-endpoint=http://{}", nobody.address()),
        "--tracing-sampling-percent=100",
        "--tracing-user",
    ]);
    let token = rig.token().mint();
    for _ in 0..50 {
        assert_eq!(whoami(&rig, &token, &[]).0, 201);
    }
    until("spans are sent and nobody takes them", || {
        let text = rig.envoy_admin("/stats?filter=cluster.collector.upstream_cx_connect_fail");
        (!text.trim().ends_with(": 0")).then_some(())
    });
    assert_eq!(whoami(&rig, &token, &[]).0, 201);
    assert_eq!(rig.probe().get("/readyz").unwrap().status, 200);
}

/// For `make watch-alerts`: a Prometheus beside a gateway that was just installed, for longer than any rule needs. No alert fires,
/// and each expression of a dashboard is answered.
#[test]
#[ignore = "as long as the longest alert needs; make watch-alerts"]
fn no_alert_fires_on_a_fresh_gateway() {
    let minutes = env::var("MINUTES").map_or(35, |it| it.parse().expect("MINUTES is a number"));
    let mut rig = Rig::start(|_| vec!["--audit-log-path=/dev/null".to_owned()], true);
    let folder = tempfile::tempdir().unwrap();
    let prometheus = Prometheus::start(&rig, folder.path());
    let (start, mut renewed) = (Instant::now(), Instant::now());
    let mut fired = Vec::new();
    let mut answered = 0;
    while start.elapsed() < Duration::from_secs(60 * minutes) {
        // As the kubelet does: the rig's tokens live ten minutes.
        if renewed.elapsed() > Duration::from_mins(4) {
            let (token, ca) = (crate::harness::token(), cluster().ca().to_owned());
            rig.account.swap(&[("token", token.as_bytes()), ("ca.crt", ca.as_bytes())]);
            renewed = Instant::now();
        }
        let token = rig.token().mint();
        if start.elapsed() > Duration::from_secs(20) {
            for _ in 0..4 {
                answered += usize::from(whoami(&rig, &token, &[]).0 == 201);
            }
            whoami(&rig, &token, &[("impersonate-user", "jane")]);
            whoami(&rig, "nonsense", &[]);
        }
        for alert in prometheus.get("alerts", &[])["alerts"].as_array().unwrap() {
            let name = alert["labels"]["alertname"].as_str().unwrap().to_owned();
            if alert["state"] == "firing" && !fired.contains(&name) {
                eprintln!("{alert}");
                fired.push(name);
            }
        }
        thread::sleep(Duration::from_secs(5));
    }
    let rules = prometheus.get("rules", &[]);
    let rules = rules["groups"][0]["rules"].as_array().unwrap().clone();
    assert!(rules.iter().all(|rule| rule["health"] == "ok"), "{rules:?}");
    let (mut total, mut silent) = (0, Vec::new());
    for name in ["overview", "security", "capacity"] {
        let dashboard = yaml(&format!("deploy/monitoring/dashboards/{name}.json"));
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().unwrap() {
                let expression = target["expr"].as_str().unwrap();
                let asked = ["$cluster", "$namespace", "$instance"]
                    .iter()
                    .fold(expression.replace("$__rate_interval", "2m"), |it, name| {
                        it.replace(name, ".*")
                    });
                let got = prometheus.get("query", &[("query", &asked)]);
                total += 1;
                if got["result"].as_array().unwrap().is_empty() {
                    silent.push(format!("{name}: {}: {expression}", panel["title"]));
                }
            }
        }
    }
    let series = prometheus.get("query", &[("query", "scrape_samples_post_metric_relabeling")]);
    let series = series["result"][0]["value"][1].as_str().unwrap().to_owned();
    println!(
        "{minutes} minutes, {answered} requests, {} rules, fired: {fired:?}; {total} expressions, without a series: {silent:#?}; {series} series a pod",
        rules.len()
    );
    assert_eq!(fired, [""; 0]);
    assert!(series.parse::<usize>().unwrap() < MOST_SERIES);
}

/// Debian's Prometheus with the alert rules and the chart's relabelings.
struct Prometheus {
    _process: Program,
    port: Port,
}

impl Prometheus {
    fn start(rig: &Rig, folder: &Path) -> Self {
        let port = Port::reserve().unwrap();
        // The operator's names of fields, in Prometheus' own form.
        let relabelings: Vec<_> = relabelings()
            .as_array()
            .unwrap()
            .iter()
            .map(|rule| json!({"action": rule["action"], "source_labels": rule["sourceLabels"], "regex": rule["regex"]}))
            .collect();
        let target = rig.probe_address().to_string();
        let configuration = json!({
            "global": {"scrape_interval": "30s", "evaluation_interval": "30s"},
            "rule_files": [root().canonicalize().unwrap().join("deploy/monitoring/alerts.yaml")],
            "scrape_configs": [{
                "job_name": "gateway",
                "static_configs": [{"targets": [target]}],
                "metric_relabel_configs": relabelings,
            }],
        });
        let file = folder.join("prometheus.json");
        fs::write(&file, configuration.to_string()).unwrap();
        let arguments = [
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={}", folder.join("data").display()),
            format!("--web.listen-address={}", port.address()),
        ];
        let program = Path::new("/usr/bin/prometheus");
        let mut process =
            Program::start(program, arguments, &[], &folder.join("prometheus.log")).unwrap();
        let url = format!("http://{}/-/ready", port.address());
        process
            .wait_until(|| ureq::get(&url).call().map(drop).map_err(|error| error.to_string()))
            .unwrap();
        Self { _process: process, port }
    }

    fn get(&self, what: &str, query: &[(&str, &str)]) -> Value {
        let url = format!("http://{}/api/v1/{what}", self.port.address());
        let request = ureq::get(url).query_pairs(query.iter().copied());
        let answer = request.call().unwrap().body_mut().read_to_string().unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["status"], "success", "{answer}");
        answer["data"].clone()
    }
}
