//! What happens, in order.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use oidc_provider::{Provider, UnknownUser};
use sandbox::{Client, Cluster, Credential, Error, Gateway, NODE, Result, realm};
use serde_json::Value;

use super::teller::{
    Person,
    Told::{Fails, Says},
    heading, say, words,
};

const LIMIT: Duration = Duration::from_secs(30);

/// The story's places.
pub struct Story<'a> {
    cluster: &'a Cluster,
    provider: &'a Provider,
    gateway: &'a Gateway,
    issuer: String,
}

impl<'a> Story<'a> {
    pub fn new(cluster: &'a Cluster, provider: &'a Provider, gateway: &'a Gateway) -> Self {
        Self { cluster, provider, gateway, issuer: provider.issuer().url().to_owned() }
    }

    /// Tells it.
    ///
    /// # Errors
    /// With the first command that does not do as told.
    pub fn tell(&self) -> Result<()> {
        self.viewer()?;
        self.promotion()?;
        self.named_by_mail()?;
        self.admin_of_one_namespace()?;
        self.in_a_pod()?;
        self.forger()?;
        self.nobody()
    }

    fn viewer(&self) -> Result<()> {
        heading("k8s-user1 is in the group system:viewers, which may view the cluster");
        self.admin_runs(
            "create clusterrolebinding viewers --clusterrole=view --group=system:viewers",
        )?;
        let user = self.logs_in("k8s-user1")?;
        let name = format!("{}#k8s-user1", self.issuer);
        user.runs("auth whoami", &Says(&[&name, "[system:viewers system:authenticated]"]))?;
        user.runs("get ns", &Says(&["default", "kube-system", "Active"]))?;
        let refused = format!(
            "Error from server (Forbidden): namespaces is forbidden: User \"{name}\" cannot create resource \
             \"namespaces\" in API group \"\" at the cluster scope\n"
        );
        user.runs("create ns test123", &Fails(&[&refused]))?;
        Ok(())
    }

    fn promotion(&self) -> Result<()> {
        heading("The provider puts k8s-user1 into system:masters, which a new token shows");
        self.provider
            .issuer()
            .add_group("k8s-user1", "system:masters")
            .map_err(|e: UnknownUser| Error::Invalid(e.to_string()))?;
        let user = self.logs_in("k8s-user1")?;
        user.runs("create ns test123", &Says(&["namespace/test123 created\n"]))?;
        Ok(())
    }

    fn named_by_mail(&self) -> Result<()> {
        heading("The gateway is told to name users by their e-mail addresses, while it runs");
        let provider = self.provider;
        let by_mail = realm::authentication(&provider.issuer(), provider.ca_pem(), "email");
        self.gateway.configure(&by_mail, Some(&realm::configuration()))?;
        say("username: {claim: email} is live");
        let user = self.logs_in("k8s-user2")?;
        let name = format!("{}#k8s-user2@example", self.issuer);
        user.runs("auth whoami", &Says(&[&name]))?;
        user.runs("get ns", &Fails(&[&format!("User \"{name}\" cannot list resource")]))?;
        Ok(())
    }

    fn admin_of_one_namespace(&self) -> Result<()> {
        heading("k8s-user3 is in the group namespace-admin, which rules one namespace");
        self.admin_runs("create ns team")?;
        self.admin_runs(
            "create rolebinding admins -n team --clusterrole=admin --group=namespace-admin",
        )?;
        let user = self.logs_in("k8s-user3")?;
        user.runs("create configmap plan -n team", &Says(&["configmap/plan created\n"]))?;
        let name = format!("{}#k8s-user3@example", self.issuer);
        let refused = format!("User \"{name}\" cannot create resource \"configmaps\"");
        user.runs("create configmap plan -n default", &Fails(&[&refused]))?;
        Ok(())
    }

    fn in_a_pod(&self) -> Result<()> {
        heading("k8s-user3 starts a pod and works in it: exec, logs and port-forward are upgrades");
        let user = self.logs_in("k8s-user3")?;
        let pod = format!(
            r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"web"}},"spec":{{"nodeName":"{NODE}","containers":[{{"name":"web","image":"web"}}]}}}}"#
        );
        user.runs_with_input("apply -n team -f -", &pod, &Says(&["pod/web created\n"]))?;
        user.runs(
            "wait -n team --for=condition=Ready --timeout=30s pod/web",
            &Says(&["pod/web condition met\n"]),
        )?;
        user.runs("exec -n team web -- echo hello from the pod", &Says(&["hello from the pod\n"]))?;
        let input = "what goes in comes out";
        user.runs_with_input("exec -i -n team web -- cat", input, &Says(&[input]))?;
        println!();

        let line = "logs -f -n team web";
        user.prompt(&format!("kubectl {line}"));
        let mut logs = user.kubectl.start(words(line))?;
        for number in 1..=3 {
            let text = format!("line {number} of the pod's log");
            self.cluster.write_pod_log(&text)?;
            println!("{}", logs.line(LIMIT, |line| line == text)?);
        }
        say("^C");
        drop(logs);

        let line = "port-forward -n team pod/web :80";
        user.prompt(&format!("kubectl {line} &"));
        let mut forward = user.kubectl.start(words(line))?;
        let from = "Forwarding from 127.0.0.1:";
        let told = forward.line(LIMIT, |line| line.starts_with(from))?;
        say(&told);
        let port = told.trim_start_matches(from).split(' ').next().unwrap_or_default();
        user.prompt(&format!("GET http://127.0.0.1:{port}/hello"));
        let answer = get(port, "/hello")?;
        say(&answer);
        if answer.contains("a pod of the sandbox was asked: GET /hello") {
            return Ok(());
        }
        Err(Error::Invalid("not as told: the forwarded port is not the pod's".to_owned()))
    }

    fn forger(&self) -> Result<()> {
        heading("k8s-user2 asks to be admin, and may not; k8s-user1 of system:masters may");
        let user = self.logs_in("k8s-user2")?;
        let name = format!("{}#k8s-user2@example", self.issuer);
        let refused = format!("user {name:?} cannot impersonate user \"admin\"");
        user.runs("get --raw=/api/v1/namespaces --as=admin", &Fails(&["(Forbidden)", &refused]))?;
        let user = self.logs_in("k8s-user1")?;
        user.runs("auth can-i delete ns --as=k8s-user2", &Fails(&["no\n"]))?;
        Ok(())
    }

    fn nobody(&self) -> Result<()> {
        heading("Without a token nobody gets further than the gateway");
        let kubectl = self.gateway.kubectl(Credential::Token("a.forged.token".to_owned()))?;
        let nobody = Person { name: "nobody", kubectl };
        let path = "/api/v1/namespaces";
        nobody.prompt(&format!("GET {}{path}", self.gateway.url()));
        let answer = Client::tls(&self.gateway.url(), self.gateway.ca(), None)?.get(path)?;
        say(&format!("{}\n{}", answer.status, answer.body.trim_end()));
        if answer.status != 401 || !answer.body.contains("\"reason\":\"Unauthorized\"") {
            return Err(Error::Invalid("not as told: the answer is no 401".to_owned()));
        }
        let refused = "error: You must be logged in to the server";
        nobody.runs("auth whoami --token=a.forged.token", &Fails(&[refused]))?;
        Ok(())
    }

    /// Logs a user in with the provider, and tells what the token says.
    fn logs_in(&self, user: &'static str) -> Result<Person> {
        let login = realm::Login::by_password(self.provider, user)?;
        println!("\n{user} logs in at {} and is given a token:", self.issuer);
        let claims = claims(&login.id_token)
            .ok_or_else(|| Error::Invalid("the ID token is no JWT".to_owned()))?;
        for name in ["preferred_username", "email", "groups"] {
            let claim = claims.get(name).unwrap_or(&Value::Null);
            println!("  {name}: {claim}");
        }
        Ok(Person { name: user, kubectl: self.gateway.kubectl(login.credential())? })
    }

    /// The cluster's administrator, who is not behind the gateway, prepares something.
    fn admin_runs(&self, line: &str) -> Result<()> {
        println!("\nadmin, straight at the API server $ kubectl {line}");
        print!("{}", self.cluster.admin().must(words(line), "")?);
        Ok(())
    }
}

fn claims(token: &str) -> Option<Value> {
    let payload = token.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

fn get(port: &str, path: &str) -> Result<String> {
    let ask = || {
        let mut stream = TcpStream::connect(format!("127.0.0.1:{port}"))?;
        stream.set_read_timeout(Some(LIMIT))?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: pod\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask()
        .map_err(|source| Error::Io { action: format!("ask the forwarded port {port}"), source })?;
    Ok(answer.rsplit("\r\n").next().unwrap_or_default().trim_end().to_owned())
}
