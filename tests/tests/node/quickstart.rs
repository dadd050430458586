//! docs/quickstart.md, run as it stands there: from a cluster and an issuer to a user's `kubectl get pods`.

use std::{
    env, fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::{Command, Output},
    thread,
};

use gateway_tests::{person::Person, readme::shell_blocks};
use sandbox::{realm, wait};
use serde_json::{Value, json};

use crate::{
    certificates::balance,
    issuer,
    nodes::{LIMIT, nodes},
    release::{helm, root},
};

/// A reader of the page, with its commands on the path.
pub struct Reader {
    person: Person,
}

impl Reader {
    /// What the page leaves to the reader is in a file of values, which `helm install` gets here beside the page's own: the CA of an issuer
    /// that is not a public one, and whatever else is given.
    pub fn new(mut values: Value) -> Self {
        let person = Person::new(&nodes().assets.kubectl);
        values["oidc"] = json!({"caPEM": issuer::provider().ca_pem()});
        let values = person.file("values.json", &values.to_string());
        let script = format!("#!/bin/sh\nexec '{}' \"$@\" --values '{values}'\n", helm().display());
        let program = person.file("bin/helm", &script);
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
        symlink(root().join("deploy"), person.path("deploy")).unwrap();
        fs::copy(nodes().admin.kubeconfig(), person.path("kubeconfig")).unwrap();
        Self { person }
    }

    /// Puts a program on the path in place of what was there.
    pub fn takes(&self, name: &str, program: &Path) {
        let place = self.person.path("bin").join(name);
        fs::remove_file(&place).unwrap();
        symlink(program, place).unwrap();
    }

    /// Runs commands as they stand on the page.
    pub fn run(&self, commands: &str) -> Output {
        let text = |name: &str| self.person.path(name).display().to_string();
        let path = format!("{}:{}", text("bin"), env::var("PATH").unwrap());
        Command::new("bash")
            .args(["-euo", "pipefail", "-c", commands])
            .current_dir(self.person.path(""))
            .envs([
                ("PATH", path),
                ("HOME", text("")),
                ("XDG_DATA_HOME", text("data")),
                ("BROWSER", text("bin/browser")),
                ("KUBECONFIG", text("kubeconfig")),
                ("KUBECACHEDIR", text("cache")),
                (
                    "KUBECTL_OIDC_CERTIFICATE_AUTHORITY",
                    self.person.file("issuer.crt", issuer::provider().ca_pem()),
                ),
            ])
            .env("KUBERC", "off")
            .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent")
            .env("KUBECTL_OIDC_LISTEN_ADDRESS", "127.0.0.1:0")
            .output()
            .unwrap()
    }

    /// Runs commands that may open a login page, on which the user then signs in.
    fn log_in(&self, commands: &str) -> Output {
        let before = self.person.visits().len();
        thread::scope(|scope| {
            let running = scope.spawn(|| self.run(commands));
            let visit = wait::within(LIMIT, "a login page to be opened", || {
                let visit = self.person.visits().into_iter().nth(before);
                visit.map(Some).or_else(|| running.is_finished().then_some(None))
            });
            if let Some(visit) = visit.unwrap() {
                let (user, password) = (issuer::USER, realm::password(issuer::USER));
                let page = issuer::provider().browser().sign_in(&visit, user, &password).unwrap();
                assert_eq!(page.status, 200, "{}", page.text);
            }
            running.join().unwrap()
        })
    }

    fn must(&self, commands: &str) -> String {
        let output = self.run(commands);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{commands}\n{said}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// The gateway's.
fn pods() -> Vec<Value> {
    let list = nodes().get("/api/v1/namespaces/login/pods");
    let pods: Vec<Value> = list["items"].as_array().unwrap().clone();
    let serving = |pod: &Value| pod["metadata"]["labels"]["app.kubernetes.io/instance"].is_string();
    let pods: Vec<Value> = pods.into_iter().filter(serving).collect();
    assert_eq!(pods.len(), 2);
    pods
}

#[test]
fn three_steps_from_a_cluster_to_a_user_who_sees_its_pods() {
    three_steps(&Reader::new(json!({"image": {"tag": "local"}})), str::to_owned);
}

/// Does what the page says, with its commands changed by `change`.
pub fn three_steps(reader: &Reader, change: impl Fn(&str) -> String) {
    let page = fs::read_to_string(root().join("docs/quickstart.md")).unwrap();
    let issuer = issuer::provider().issuer();
    // The examples' names, and those of this issuer.
    let here = |text: &str| {
        text.replace("https://login.example.com", issuer.url())
            .replace("clientId=kubernetes", &format!("clientId={}", realm::CLIENT))
            .replace("client-id kubernetes", &format!("client-id {}", realm::CLIENT))
    };
    let blocks: Vec<String> =
        shell_blocks(&page).iter().map(|block| change(&here(&block.text))).collect();
    let [install, bind, login, look] = &*blocks else { panic!("other commands: {blocks:#?}") };
    // Where "restricted" is enforced, too.
    let level = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "login", "labels": level}});
    crate::release::apply(&namespace);

    thread::scope(|scope| {
        scope.spawn(|| balance("login", "kube-oidc-gateway", "192.0.2.20", "b2.elb.example"));
        reader.must(install);
    });
    reader.must(bind);
    // As the page says, the kubelets bring the certificate to the pods a little later, to one after the other.
    for pod in pods() {
        let address = pod["status"]["podIP"].as_str().unwrap();
        let ask = format!(
            "openssl s_client -connect {address}:8443 2>&1 </dev/null | openssl x509 -noout -checkhost b2.elb.example 2>&1"
        );
        let served = wait::within(LIMIT, "a pod to serve the new certificate", || {
            let output = reader.run(&ask);
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            if said.contains("does match") { Ok(()) } else { Err(said) }
        });
        served.unwrap();
    }
    let output = reader.log_in(login);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("k8s-user1@example") && said.contains("https://b2.elb.example"),
        "{said}"
    );

    reader.must(look);
    let pods = reader.must("kubectl --namespace login get pods --output name");
    assert!(pods.contains("pod/kube-oidc-gateway-"), "{pods}");
    let me = reader.must("kubectl auth whoami");
    assert!(me.contains("k8s-user1@example") && me.contains(issuer::GROUP), "{me}");
    let refused = reader.run("kubectl --namespace login get secrets");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Forbidden"), "{refused:?}");
}
