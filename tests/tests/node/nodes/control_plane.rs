//! What runs on no node: etcd, kube-apiserver, the controllers, the scheduler; and kube-proxy, of which one does for both nodes, since these
//! share a network namespace.

use std::{fs, path::Path};

use sandbox::{Authority, Process, assets::Assets};
use serde_json::json;

use super::{APISERVER, NodePrograms, SERVICE, kubeconfig_file, part};

const ETCD: &str = "http://127.0.0.1:2379";
const AUDIT_POLICY: &str = r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
 "rules": [{"level": "Metadata"}]}"#;

/// etcd and kube-apiserver, which may not be ready yet.
pub fn storage_and_server(
    assets: &Assets,
    authority: &Authority,
    folder: &Path,
) -> (Process, Process) {
    let text = |name: &str| folder.join(name).display().to_string();
    let etcd = part(
        "etcd",
        &assets.etcd,
        folder,
        &[
            ("data-dir", text("etcd")),
            ("listen-client-urls", ETCD.to_owned()),
            ("advertise-client-urls", ETCD.to_owned()),
            ("listen-peer-urls", "http://127.0.0.1:2380".to_owned()),
            ("log-level", "warn".to_owned()),
            // Nothing here outlives the test.
            ("unsafe-no-fsync", "true".to_owned()),
        ],
    );
    fs::write(folder.join("ca.crt"), authority.pem()).unwrap();
    fs::write(folder.join("audit-policy.yaml"), AUDIT_POLICY).unwrap();
    let names = [APISERVER, SERVICE, "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    let serving = authority.server(&names).unwrap().write(folder, "apiserver").unwrap();
    let kubelets = authority.client("kube-apiserver", &["system:masters"]).unwrap();
    let kubelets = kubelets.write(folder, "apiserver-to-kubelets").unwrap();
    // Any key pair will do for the signatures of tokens; kube-apiserver reads the public half out of a certificate.
    let tokens = authority.client("tokens", &[]).unwrap().write(folder, "tokens").unwrap();
    let file = |path: &Path| path.display().to_string();
    let apiserver = part(
        "kube-apiserver",
        &assets.kube_apiserver,
        folder,
        &[
            ("etcd-servers", ETCD.to_owned()),
            ("secure-port", "6443".to_owned()),
            ("bind-address", "0.0.0.0".to_owned()),
            ("advertise-address", APISERVER.to_owned()),
            ("tls-cert-file", file(&serving.certificate)),
            ("tls-private-key-file", file(&serving.key)),
            ("client-ca-file", text("ca.crt")),
            ("authorization-mode", "Node,RBAC".to_owned()),
            ("enable-admission-plugins", "NodeRestriction".to_owned()),
            ("service-cluster-ip-range", "10.96.0.0/16".to_owned()),
            ("service-account-issuer", "https://kubernetes.default.svc".to_owned()),
            ("service-account-key-file", file(&tokens.certificate)),
            ("service-account-signing-key-file", file(&tokens.key)),
            ("kubelet-client-certificate", file(&kubelets.certificate)),
            ("kubelet-client-key", file(&kubelets.key)),
            ("kubelet-certificate-authority", text("ca.crt")),
            ("kubelet-preferred-address-types", "InternalIP".to_owned()),
            ("audit-policy-file", text("audit-policy.yaml")),
            ("audit-log-path", text("audit.log")),
            ("audit-log-maxsize", "100000".to_owned()),
        ],
    );
    (etcd, apiserver)
}

/// The controllers, the scheduler and kube-proxy.
pub fn controllers(programs: &NodePrograms, authority: &Authority, folder: &Path) -> [Process; 3] {
    let user = |name: &str| kubeconfig_file(authority, name, &[]);
    let text = |name: &str| folder.join(name).display().to_string();
    let no = || "false".to_owned();
    let loopback = || "127.0.0.1".to_owned();
    let controllers = part(
        "kube-controller-manager",
        &programs.controller_manager,
        folder,
        &[
            ("kubeconfig", user("system:kube-controller-manager")),
            ("service-account-private-key-file", text("tokens.key")),
            ("root-ca-file", text("ca.crt")),
            ("use-service-account-credentials", "true".to_owned()),
            ("leader-elect", no()),
            ("bind-address", loopback()),
            ("flex-volume-plugin-dir", text("plugins")),
        ],
    );
    let scheduler = part(
        "kube-scheduler",
        &programs.scheduler,
        folder,
        &[
            ("kubeconfig", user("system:kube-scheduler")),
            ("leader-elect", no()),
            ("bind-address", loopback()),
        ],
    );
    let configuration = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": user("system:kube-proxy")},
        "clusterCIDR": "10.88.0.0/16",
        "hostnameOverride": "node1",
        // These settings are the machine's.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    });
    fs::write(folder.join("proxy.yaml"), configuration.to_string()).unwrap();
    let proxy = part("kube-proxy", &programs.proxy, folder, &[("config", text("proxy.yaml"))]);
    [controllers, scheduler, proxy]
}
