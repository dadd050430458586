//! What `up` starts, and how to use it.

use std::{
    env,
    fmt::Write,
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use oidc_provider::{Config, Preset, Provider};
use sandbox::{
    Cluster, Credential, Error, Gateway, Kubeconfig, Port, Result, Steps, assets::Kubernetes, realm,
};
use serde_json::json;
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
        let plugin = plugin();
        let by = if plugin.is_some() { "by kubectl-oidc" } else { "by kubectl itself" };
        line(&mut told, format_args!("\nThrough the gateway, tokens are refreshed {by}:"));
        for user in USERS {
            let credential = match &plugin {
                Some(plugin) => by_plugin(plugin, folder, &provider, user),
                None => realm::Login::by_password(&provider, user)?.credential(),
            };
            let path = write(user, &gateway.kubeconfig(credential))?;
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

/// kubectl-oidc, where it was built beside this program.
fn plugin() -> Option<PathBuf> {
    let plugin = env::current_exe().ok()?.with_file_name("kubectl-oidc");
    plugin.is_file().then_some(plugin)
}

/// A user who logs in with a password that everybody knows, without a browser. The tokens lie in the sandbox's folder.
fn by_plugin(plugin: &Path, folder: &Path, provider: &Provider, user: &str) -> Credential {
    let issuer = provider.issuer();
    Credential::Exec(json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": plugin,
        "args": [
            "get-token",
            format!("--oidc-issuer-url={}", issuer.url()),
            format!("--oidc-client-id={}", realm::CLIENT),
            format!("--certificate-authority-data={}", STANDARD.encode(provider.ca_pem())),
            "--grant-type=password",
            format!("--username={user}"),
            format!("--password={}", realm::password(user)),
            "--token-store=file",
            format!("--token-store-dir={}", folder.join("logins").display()),
        ],
        "interactiveMode": "Never",
    }))
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
