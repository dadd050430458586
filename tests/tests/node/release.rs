//! A release of the chart in a namespace that enforces the Pod Security Standard "restricted".

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::LazyLock,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use sandbox::{
    Client, Credential, Kubeconfig, Kubectl,
    assets::{self, Progress},
    wait,
};
use serde_json::{Value, json};

use crate::{
    issuer, names,
    nodes::{LIMIT, condition, folder, nodes},
};

static HELM: LazyLock<PathBuf> = LazyLock::new(|| assets::helm(&Progress::new()).unwrap());

/// Helm's file.
pub fn helm() -> &'static Path {
    &HELM
}

/// The project's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// The chart of this commit, whose image is `kube-oidc-gateway:local`.
pub fn chart() -> PathBuf {
    root().join("deploy/helm/kube-oidc-gateway")
}

/// A release, or the wish for one. Its name is that of its namespace and of its objects.
pub struct Release {
    /// That name.
    pub name: &'static str,
    values: Value,
}

impl Release {
    /// Makes the namespace. The values stand beside those of the issuer and the image.
    pub fn new(name: &'static str, more: &Value) -> Self {
        let level = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": level}});
        apply(&namespace);
        // Nothing can be created as a pod before a controller has made this.
        wait::within(LIMIT, "the namespace's ServiceAccount", || {
            let path = format!("/api/v1/namespaces/{name}/serviceaccounts/default");
            nodes().client.get_json(&path).map(drop).map_err(|error| error.to_string())
        })
        .unwrap();
        let mut values = issuer::values();
        merge(&mut values, &json!({"fullnameOverride": name, "image": {"tag": "local"}}));
        merge(&mut values, more);
        Self { name, values }
    }

    /// `helm install --wait`, which must succeed.
    pub fn install(&self) {
        self.helm("install", &chart(), &Value::Null);
    }

    /// `helm upgrade --wait` with other values, too.
    pub fn upgrade(&mut self, more: &Value) {
        merge(&mut self.values, more);
        self.helm("upgrade", &chart(), &Value::Null);
    }

    /// Runs `helm VERB` with this chart, the values and some that count for this once.
    pub fn helm(&self, verb: &str, chart: &Path, more: &Value) {
        let output = self.try_helm(verb, chart, more);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "helm {verb} {}: {said}\n{}", self.name, self.story());
    }

    /// The same, whatever becomes of it.
    pub fn try_helm(&self, verb: &str, chart: &Path, more: &Value) -> Output {
        let mut values = self.values.clone();
        merge(&mut values, more);
        let file = folder().join(self.name).with_extension("values.json");
        fs::write(&file, values.to_string()).unwrap();
        run_helm(&[
            verb,
            self.name,
            chart.to_str().unwrap(),
            "--namespace",
            self.name,
            "--wait",
            "--timeout=4m",
            "--values",
            file.to_str().unwrap(),
        ])
    }

    /// What a person would look at when it does not work.
    pub fn story(&self) -> String {
        let look = |arguments: &[&str]| {
            let output = nodes().admin.run(arguments).unwrap();
            format!("{}{}", output.stdout, output.stderr)
        };
        let selector = format!("app.kubernetes.io/instance={}", self.name);
        [
            look(&["-n", self.name, "get", "pods,jobs", "-o", "wide"]),
            look(&["-n", self.name, "get", "events", "--sort-by=.lastTimestamp"]),
            look(&["-n", self.name, "logs", "-l", &selector, "--tail=20", "--prefix"]),
        ]
        .concat()
    }

    /// Its serving pods that are not about to go.
    pub fn pods(&self) -> Vec<Value> {
        let mut pods = self.all_pods();
        pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        pods
    }

    fn all_pods(&self) -> Vec<Value> {
        let path = format!(
            "/api/v1/namespaces/{}/pods?labelSelector=app.kubernetes.io%2Finstance%3D{}",
            self.name, self.name
        );
        nodes().get(&path)["items"].as_array().unwrap().clone()
    }

    /// Waits until there are so many pods, each of them ready.
    pub fn ready(&self, count: usize) -> Vec<Value> {
        let ready = wait::within(LIMIT, "ready pods", || {
            let pods = self.pods();
            let ready = pods.iter().filter(|pod| condition(pod, "Ready").is_some()).count();
            if ready == count && pods.len() == count { Ok(pods) } else { Err(ready.to_string()) }
        });
        ready.unwrap_or_else(|error| panic!("{error}\n{}", self.story()))
    }

    /// A file of one of its Secrets.
    pub fn secret(&self, ending: &str, file: &str) -> String {
        let path = format!("/api/v1/namespaces/{0}/secrets/{0}-{ending}", self.name);
        let data = nodes().get(&path)["data"][file].clone();
        let data = data.as_str().unwrap_or_else(|| panic!("{path} has no {file}"));
        String::from_utf8(STANDARD.decode(data).unwrap()).unwrap()
    }

    /// Its Service.
    pub fn service(&self) -> Value {
        nodes().get(&format!("/api/v1/namespaces/{0}/services/{0}", self.name))
    }

    /// Makes the Service's name known, as a cluster's DNS does; the URL by that name.
    pub fn url(&self) -> String {
        let name = format!("{0}.{0}.svc", self.name);
        names::add(&name, self.service()["spec"]["clusterIP"].as_str().unwrap());
        format!("https://{name}")
    }

    /// The user's kubectl, by this URL and this CA of the gateway's.
    pub fn kubectl(url: &str, ca: &str) -> Kubectl {
        let kubeconfig = Kubeconfig {
            server: url.to_owned(),
            ca: ca.to_owned(),
            credential: Credential::Token(issuer::token()),
        };
        Kubectl::new(&nodes().assets.kubectl, &kubeconfig).unwrap()
    }

    /// Waits until the user is let in by this URL with this CA, as who he is.
    pub fn lets_in(&self, url: &str, ca: &str) {
        let client = Client::tls(url, ca, None).unwrap();
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let let_in = wait::within(LIMIT, "the user to be let in", || {
            let answer = client.post_json_as(&issuer::token(), path, &review);
            let answer = answer.map_err(|error| error.to_string())?;
            let named =
                answer.body.contains("k8s-user1@example") && answer.body.contains(issuer::GROUP);
            if named { Ok(()) } else { Err(answer.body) }
        });
        let_in.unwrap_or_else(|error| panic!("{url}: {error}\n{}", self.story()));
    }

    /// What `helm test` says, which must succeed.
    pub fn test(&self) -> String {
        let output = run_helm(&["test", self.name, "--namespace", self.name, "--timeout=2m"]);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{said}\n{}", self.story());
        said
    }

    /// `helm uninstall --wait`.
    pub fn uninstall(&self) {
        let output = run_helm(&["uninstall", self.name, "--namespace", self.name, "--wait"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // Helm waits for what it made, and not for what that made.
        self.settled(0);
    }

    /// Waits until there are so many pods, ending ones among them.
    pub fn settled(&self, count: usize) {
        let settled = wait::within(LIMIT, "pods to be gone", || {
            let there = self.all_pods().len();
            if there == count { Ok(()) } else { Err(there.to_string()) }
        });
        settled.unwrap_or_else(|error| panic!("{error}\n{}", self.story()));
    }
}

/// Helm as an administrator, with nothing of the machine's own settings.
pub fn run_helm(arguments: &[&str]) -> Output {
    Command::new(helm())
        .args(arguments)
        .env("KUBECONFIG", nodes().admin.kubeconfig())
        .env("HOME", folder())
        .output()
        .unwrap()
}

/// Creates or changes an object.
pub fn apply(object: &Value) {
    nodes().admin.must(["apply", "--server-side", "-f", "-"], &object.to_string()).unwrap();
}

/// Puts values into others, as Helm does with several files.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (_, Value::Null) => {}
        (into, from) => *into = from.clone(),
    }
}
