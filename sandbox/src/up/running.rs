//! What `up` starts, and how to use it.

use std::{
    fmt::Write,
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use oidc_provider::{Config, Preset, Provider};
use sandbox::{
    Cluster, Error, Gateway, Kubeconfig, Port, Result, Steps, assets::Kubernetes, realm,
};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
};

use super::POLL;

const USERS: [&str; 3] = ["k8s-user1", "k8s-user2", "k8s-user3"];

/// Gives the realm's groups what they have in the original project.
const BINDINGS: &str = include_str!("../../manifests/realm.yaml");

/// A whole sandbox.
pub struct Running {
    gateway: Gateway,
    cluster: Cluster,
    _provider: Provider,
    /// How to use it, for people.
    pub told: String,
}

impl Running {
    pub fn start(
        kubernetes: Kubernetes,
        folder: &Path,
        port: Option<u16>,
        provider_admin: Option<u16>,
    ) -> Result<Self> {
        let port = port.map_or_else(Port::reserve, Port::reserve_number)?;
        let cluster = Cluster::builder()
            .kubernetes(kubernetes)
            .folder(folder.join("cluster"))
            .steps(Steps::Told)
            .start()?;
        cluster.apply(BINDINGS)?;
        let mut config = Config::of(Preset::KubernetesSandbox.issuer());
        config.admin = provider_admin.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let provider = Provider::start(config)
            .map_err(|e| Error::Invalid(format!("the OpenID provider does not start: {e}")))?;
        let gateway = cluster
            .gateway(realm::authentication_of(&provider))
            .configuration(realm::configuration())
            .folder(folder.join("gateway"))
            .port(port)
            .steps(Steps::Told)
            .start()?;

        let write = |name: &str, kubeconfig: &Kubeconfig| {
            let path = folder.join(format!("{name}.kubeconfig"));
            kubeconfig.write(&path).map(|()| path.display().to_string())
        };
        let mut told = format!(
            "gateway         {}\nkube-apiserver  {}\nissuer          {}\n",
            gateway.url(),
            cluster.url(),
            provider.issuer().url()
        );
        if let Some(address) = provider.admin_address() {
            line(&mut told, format_args!("its admin API   http://{address}"));
        }
        line(&mut told, format_args!("\nLogged in through the gateway, tokens are refreshed:"));
        for user in USERS {
            let login = realm::Login::by_password(&provider, user)?;
            let path = write(user, &gateway.kubeconfig(login.credential()))?;
            line(&mut told, format_args!("  export KUBECONFIG={path}"));
        }
        let path = write("admin", &cluster.admin_kubeconfig())?;
        line(&mut told, format_args!("Administrator, straight at kube-apiserver:"));
        line(&mut told, format_args!("  export KUBECONFIG={path}"));
        line(&mut told, format_args!("\n{}", from_nothing(folder, &provider, &gateway)?));
        let kubectl = cluster.assets().kubectl.display();
        line(&mut told, format_args!("kubectl of the same version: {kubectl}"));
        Ok(Self { gateway, cluster, _provider: provider, told })
    }

    /// Keeps it running until a signal ends it.
    ///
    /// # Errors
    /// If a part of it ends by itself.
    pub fn watch(&self) -> Result<()> {
        let ended = Arc::new(AtomicBool::new(false));
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            let action = || "listen for signals".to_owned();
            let registered: io::Result<_> = flag::register(signal, Arc::clone(&ended));
            registered.map_err(|source| Error::Io { action: action(), source })?;
        }
        while !ended.load(Ordering::Relaxed) {
            self.cluster.check()?;
            self.gateway.check()?;
            thread::sleep(POLL);
        }
        Ok(())
    }
}

/// How a person logs in with a browser, beginning with an empty kubeconfig. Writes the certificate authorities for it.
fn from_nothing(folder: &Path, provider: &Provider, gateway: &Gateway) -> Result<String> {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        let written = fs::write(&path, text);
        let action = || format!("write {}", path.display());
        written.map_err(|source| Error::Io { action: action(), source })?;
        Ok::<_, Error>(path.display().to_string())
    };
    let (user, client) = (USERS[0], realm::CLIENT);
    Ok(format!(
        "With kubectl-oidc on the PATH, as {user} with the password {}:\n  \
         export KUBECONFIG={}\n  \
         kubectl oidc setup --server={} --cluster-certificate-authority={} \
         --oidc-issuer-url={} --certificate-authority={} --oidc-client-id={client}\n  \
         kubectl get namespaces\n",
        realm::password(user),
        folder.join("login.kubeconfig").display(),
        gateway.url(),
        write("gateway.crt", gateway.ca())?,
        provider.issuer().url(),
        write("issuer.crt", provider.ca_pem())?,
    ))
}

fn line(told: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = writeln!(told, "{text}");
}
