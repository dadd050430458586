//! A gateway in front of the shared cluster, with an OpenID provider of its own.

use std::{
    env,
    ops::Deref,
    path::PathBuf,
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use oidc_provider::{Config, Issuer, IssuerConfig, Preset, Provider, TokenBuilder};
use sandbox::{
    Credential, Gateway, GatewayBuilder, Kubectl,
    assets::{self, Progress},
    realm,
};
use serde_json::Value;

use super::{Http2, cluster};

static IN_USE: AtomicUsize = AtomicUsize::new(0);

/// For tests that change nothing about the gateway and the provider.
static SHARED: LazyLock<Rig> = LazyLock::new(|| {
    let rig = Rig::new();
    IN_USE.fetch_sub(1, Ordering::SeqCst);
    rig
});

/// How many tests have a rig at this moment.
pub fn rigs_in_use() -> usize {
    IN_USE.load(Ordering::SeqCst)
}

/// A provider and a gateway that trusts it. Both end when it is dropped.
pub struct Rig {
    /// The gateway. Ends first.
    pub gateway: Gateway,
    /// The provider, with the realm `kubernetes-sandbox` unless the builder was told otherwise.
    pub provider: Provider,
    configuration: Value,
}

/// The rig that tests share, as long as one of them has it.
pub struct Shared(());

/// What a rig is made of.
pub struct RigBuilder {
    config: Config,
    authentication: fn(&Provider) -> Value,
    configuration: Value,
}

impl Rig {
    /// The realm `kubernetes-sandbox` and its default configuration: users named `<issuer>#<preferred_username>`, groups
    /// as they are, uid from `sub`; of names beginning with `system:` the groups `system:viewers` and `system:masters`
    /// pass.
    pub fn new() -> Self {
        Self::builder().start()
    }

    /// A rig that differs from [`Self::new`] in something.
    pub fn builder() -> RigBuilder {
        RigBuilder {
            config: Config::of(Preset::KubernetesSandbox.issuer()),
            authentication: realm::authentication_of,
            configuration: realm::configuration(),
        }
    }

    /// The rig that tests share which change nothing about it.
    pub fn shared() -> Shared {
        IN_USE.fetch_add(1, Ordering::SeqCst);
        LazyLock::force(&SHARED);
        Shared(())
    }

    /// Its `GatewayConfiguration`.
    pub fn configuration(&self) -> Value {
        self.configuration.clone()
    }

    /// The provider's first issuer.
    pub fn issuer(&self) -> Issuer {
        self.provider.issuer()
    }

    /// A good token of `k8s-user1` (group `system:viewers`) in the making.
    pub fn token(&self) -> TokenBuilder {
        self.issuer().token("k8s-user1", realm::CLIENT)
    }

    /// A good token of `k8s-user1` in the group `system:masters`.
    pub fn admin_token(&self) -> String {
        self.token().claim("groups", ["system:masters"].as_slice()).mint()
    }

    /// The name that `k8s-user1` has behind the gateway. No other rig's user has it.
    pub fn user(&self) -> String {
        format!("{}#k8s-user1", self.issuer().url())
    }

    /// kubectl through the gateway with a token.
    pub fn kubectl(&self, token: impl Into<String>) -> Kubectl {
        self.gateway.kubectl(Credential::Token(token.into())).unwrap()
    }

    /// kubectl through the gateway as `k8s-user1` in the group `system:masters`.
    pub fn admin(&self) -> Kubectl {
        self.kubectl(self.admin_token())
    }

    /// A connection for HTTP/2.
    pub fn http2(&self) -> Http2 {
        Http2::connect(self.gateway.port(), self.gateway.ca())
    }
}

/// A gateway before the cluster that all tests share, with the Envoy that the tests are run with.
pub fn gateway(authentication: Value) -> GatewayBuilder<'static> {
    let builder = cluster().gateway(authentication);
    match envoy() {
        Some(envoy) => builder.envoy(envoy),
        None => builder,
    }
}

/// Another Envoy than the sandbox's own, where `E2E_ENVOY` asks for one: its path, or `vulnerable` for the one without the
/// fix of CVE-2026-73548, in which the filter's hold alone keeps early bytes back.
fn envoy() -> Option<PathBuf> {
    let which = env::var("E2E_ENVOY").ok()?;
    if which == "vulnerable" {
        return Some(assets::vulnerable_envoy(&Progress::new()).unwrap());
    }
    let path = PathBuf::from(which);
    assert!(path.is_absolute() && path.is_file(), "E2E_ENVOY is `vulnerable` or a program's path");
    Some(path)
}

impl Drop for Rig {
    fn drop(&mut self) {
        IN_USE.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Deref for Shared {
    type Target = Rig;

    fn deref(&self) -> &Rig {
        &SHARED
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        IN_USE.fetch_sub(1, Ordering::SeqCst);
    }
}

impl RigBuilder {
    /// Another issuer than the realm `kubernetes-sandbox`.
    pub fn issuer(self, issuer: IssuerConfig) -> Self {
        Self { config: Config::of(issuer), ..self }
    }

    /// The `AuthenticationConfiguration`, given the provider.
    pub fn authentication(self, authentication: fn(&Provider) -> Value) -> Self {
        Self { authentication, ..self }
    }

    /// The `GatewayConfiguration`.
    pub fn configuration(self, configuration: Value) -> Self {
        Self { configuration, ..self }
    }

    /// Starts both.
    pub fn start(self) -> Rig {
        let provider = Provider::start(self.config).unwrap();
        let builder = gateway((self.authentication)(&provider));
        let gateway = builder.configuration(self.configuration.clone()).start().unwrap();
        IN_USE.fetch_add(1, Ordering::SeqCst);
        Rig { gateway, provider, configuration: self.configuration }
    }
}
