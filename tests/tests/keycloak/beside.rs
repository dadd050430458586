//! The program in front of the cluster, with a portal beside the gateway, under one name and certificate.

use std::fs;

use gateway_tests::built;
use sandbox::{Authority, Client, Cluster, Credential, Kubeconfig, Kubectl, Port, Program};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::story::CLUSTER;

/// The portal's name. It resolves on any machine.
pub const HOST: &str = "localhost";

/// What differs: the documents, and more flags.
pub struct Documents {
    pub authentication: Value,
    pub gateway: Value,
    /// Without what every `PortalConfiguration` has: `apiVersion`, `kind`, `host` and `url`.
    pub portal: Value,
    pub flags: Vec<String>,
}

/// The program. It is ready.
pub struct Beside {
    // Ends before its folder is removed.
    program: Program,
    port: Port,
    authority: Authority,
    folder: TempDir,
}

/// Where the program will listen, and the CA of its certificate: a provider has to know both before it starts.
pub struct Place {
    pub port: Port,
    pub authority: Authority,
}

impl Place {
    pub fn reserve() -> Self {
        Self { port: Port::reserve().unwrap(), authority: Authority::new("the gateway").unwrap() }
    }

    /// Where people find the portal: its name is told from the gateway's by the name in the TLS handshake.
    pub fn portal(&self) -> String {
        format!("https://{HOST}:{}", self.port.number())
    }
}

impl Beside {
    /// `documents` writes files, by their names and texts, and has their paths.
    pub fn start(
        place: Place,
        documents: impl FnOnce(&dyn Fn(&str, &str) -> String) -> Documents,
    ) -> Self {
        let url = place.portal();
        let Place { port, authority } = place;
        let folder = tempfile::tempdir().unwrap();
        let probe = Port::reserve().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let pair = authority.server(&[]).unwrap();
        let (namespace, account) = Cluster::GATEWAY;
        let token = CLUSTER.service_account_token(namespace, account, 3600).unwrap();
        let ca = write("ca.crt", CLUSTER.ca());
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "a",
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            "clusters": [{"name": "a", "cluster": {"server": CLUSTER.url(), "certificate-authority": ca}}],
            "users": [{"name": "a", "user": {"tokenFile": write("token", &token)}}],
        });
        let Documents { authentication, gateway, mut portal, flags } = documents(&write);
        portal["apiVersion"] = json!("gateway.kube-oidc.dev/v1alpha1");
        portal["kind"] = json!("PortalConfiguration");
        (portal["host"], portal["url"]) = (json!(HOST), json!(url));
        let mut arguments = vec![
            "run".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            "--readiness-probe-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", port.number()),
            format!("--readiness-probe-port={}", probe.number()),
            format!("--tls-cert-file={}", write("crt.pem", &pair.certificate)),
            format!("--tls-private-key-file={}", write("key.pem", &pair.key)),
            format!("--kubeconfig={}", write("kubeconfig", &kubeconfig.to_string())),
            format!("--envoy-binary={}", CLUSTER.assets().envoy.display()),
            format!("--run-dir={}", folder.path().join("run").display()),
            format!("--authentication-config={}", write("auth.json", &authentication.to_string())),
            format!("--gateway-config={}", write("gateway.json", &gateway.to_string())),
            format!("--portal-config={}", write("portal.json", &portal.to_string())),
            "--concurrency=2".to_owned(),
            "--shutdown-delay-duration=0s".to_owned(),
            "--drain-duration=1s".to_owned(),
        ];
        arguments.extend(flags);
        arguments.extend(built::filter_flags());
        let log = folder.path().join("log");
        let mut program = Program::start(&built::program(), arguments, &[], &log).unwrap();
        let probe = format!("http://{}", probe.address());
        let probe = Client::tls(&probe, authority.pem(), None).unwrap();
        let ready = program.wait_until(|| {
            let answer = probe.get("/readyz").map_err(|error| error.to_string())?;
            if answer.status == 200 { Ok(()) } else { Err(answer.body) }
        });
        ready.unwrap_or_else(|error| panic!("{error}\n{}", fs::read_to_string(&log).unwrap()));
        Self { program, port, authority, folder }
    }

    /// The portal's URL.
    pub fn portal(&self) -> String {
        format!("https://{HOST}:{}", self.port.number())
    }

    /// kubectl through the gateway with a token.
    pub fn kubectl(&self, token: &str) -> Kubectl {
        let kubeconfig = Kubeconfig {
            server: format!("https://{}", self.port.address()),
            ca: self.authority.pem().to_owned(),
            credential: Credential::Token(token.to_owned()),
        };
        CLUSTER.kubectl_with(&kubeconfig).unwrap()
    }

    /// A file of the program's folder, as it is now.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    /// What the program and Envoy have written so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.program.log()).unwrap_or_default()
    }
}
