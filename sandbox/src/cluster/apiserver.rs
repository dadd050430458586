//! kube-apiserver: RBAC, an audit log of every request, certificates of the sandbox's own.

use std::path::{Path, PathBuf};

use crate::{
    error::Result,
    files,
    folder::Folder,
    http::Client,
    kubeconfig::{Credential, Kubeconfig},
    pki::{self, Authority, Identity, IdentityFiles},
    port::Port,
    process::{Process, READY, Spec},
};

const AUDIT_POLICY: &str = include_str!("../../manifests/audit-policy.yaml");

/// How to start kube-apiserver, and what is known of it before it runs.
pub(super) struct ApiServer {
    spec: Spec,
    port: Port,
    pub ca: String,
    pub ca_file: PathBuf,
    admin: Identity,
    pub audit_log: PathBuf,
    pub log: PathBuf,
    /// The file of `--authentication-config`.
    pub authentication: Option<PathBuf>,
    pub client: Client,
}

/// What differs from cluster to cluster.
pub(super) struct Settings<'a> {
    pub program: &'a Path,
    pub etcd: &'a str,
    pub node_ca: &'a Path,
    pub node_client: &'a IdentityFiles,
    /// The text of a file for `--authentication-config`.
    pub authentication: Option<&'a str>,
    pub port: Port,
    pub more: &'a [String],
    pub environment: &'a [(String, String)],
}

impl ApiServer {
    pub fn new(settings: Settings<'_>, folder: &Folder) -> Result<Self> {
        let files = folder.folder("apiserver")?;
        let authority = Authority::new("sandbox kube-apiserver")?;
        let ca_file = files.join("ca.crt");
        files::write(&ca_file, authority.pem().as_bytes())?;
        let serving = authority
            .server(&["kubernetes", "kubernetes.default", "kubernetes.default.svc"])?
            .write(&files, "serving")?;
        let (signing, verifying) = pki::signing_keys()?;
        let (signing_file, verifying_file) = (files.join("tokens.key"), files.join("tokens.pub"));
        files::write_private(&signing_file, signing.as_bytes())?;
        files::write(&verifying_file, verifying.as_bytes())?;
        let policy = files.join("audit-policy.yaml");
        files::write(&policy, AUDIT_POLICY.as_bytes())?;
        let audit_log = folder.file("audit.log");

        let file = |path: &Path| path.display().to_string();
        let mut arguments: Vec<String> = [
            ("etcd-servers", settings.etcd.to_owned()),
            ("bind-address", "127.0.0.1".to_owned()),
            ("advertise-address", "127.0.0.1".to_owned()),
            ("secure-port", settings.port.number().to_string()),
            ("tls-cert-file", file(&serving.certificate)),
            ("tls-private-key-file", file(&serving.key)),
            ("client-ca-file", file(&ca_file)),
            ("authorization-mode", "RBAC".to_owned()),
            ("service-account-issuer", "https://kubernetes.default.svc".to_owned()),
            ("service-account-signing-key-file", file(&signing_file)),
            ("service-account-key-file", file(&verifying_file)),
            ("service-cluster-ip-range", "10.96.0.0/16".to_owned()),
            // A loopback address cannot be an endpoint of the service `kubernetes`.
            ("endpoint-reconciler-type", "none".to_owned()),
            // No controller makes the ServiceAccount `default` that it wants in each namespace.
            ("disable-admission-plugins", "ServiceAccount".to_owned()),
            ("kubelet-certificate-authority", file(settings.node_ca)),
            ("kubelet-client-certificate", file(&settings.node_client.certificate)),
            ("kubelet-client-key", file(&settings.node_client.key)),
            ("kubelet-preferred-address-types", "InternalIP".to_owned()),
            ("audit-policy-file", file(&policy)),
            ("audit-log-path", file(&audit_log)),
            // An event is in the file before its request goes on.
            ("audit-log-mode", "blocking".to_owned()),
            // In megabytes: it is read while it grows, so it is never renamed.
            ("audit-log-maxsize", "100000".to_owned()),
        ]
        .into_iter()
        .map(|(name, value)| format!("--{name}={value}"))
        .collect();
        let authentication = settings.authentication.map(|_| files.join("authentication.yaml"));
        if let (Some(path), Some(text)) = (&authentication, settings.authentication) {
            files::write(path, text.as_bytes())?;
            arguments.push(format!("--authentication-config={}", path.display()));
        }
        arguments.extend(settings.more.iter().cloned());

        let admin = authority.client("sandbox-admin", &["system:masters"])?;
        let url = format!("https://{}", settings.port.address());
        let client = Client::tls(&url, authority.pem(), Some(&admin))?;
        let spec = Spec {
            name: "kube-apiserver",
            program: settings.program.to_owned(),
            arguments,
            environment: settings.environment.to_vec(),
            folder: None,
            log: folder.file("kube-apiserver.log"),
        };
        Ok(Self {
            log: spec.log.clone(),
            ca: authority.pem().to_owned(),
            port: settings.port,
            spec,
            ca_file,
            admin,
            audit_log,
            authentication,
            client,
        })
    }

    pub fn port(&self) -> &Port {
        &self.port
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.port.address())
    }

    pub fn admin_kubeconfig(&self) -> Kubeconfig {
        let Identity { certificate, key } = self.admin.clone();
        let credential = Credential::Certificate { certificate, key };
        Kubeconfig { server: self.url(), ca: self.ca.clone(), credential }
    }

    /// Starts it and waits until it serves, with its default roles in place.
    pub fn start(&self) -> Result<Process> {
        self.start_with(&[])
    }

    /// The same with more arguments, which count before those that it had.
    pub fn start_with(&self, arguments: &[String]) -> Result<Process> {
        let mut spec = self.spec.clone();
        spec.arguments.extend(arguments.iter().cloned());
        let mut process = Process::start(&spec)?;
        process.wait_until(READY, || {
            let answer = self.client.get("/readyz").map_err(|e| e.to_string())?;
            if answer.status == 200 { Ok(()) } else { Err(answer.body) }
        })?;
        Ok(process)
    }
}
