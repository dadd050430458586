//! What every chain stands between: a provider whose tokens the clients hold, and the API server or its stand-in.

use std::rc::Rc;

use anyhow::Result;
use hyper::header::HeaderValue;
use oidc_provider::{Algorithm, Config, Issuer, IssuerConfig, Provider, SignWith, User};
use sandbox::{Cluster, Steps};
use serde_json::{Value, json};

use crate::stub::Stub;

/// The user of every token, with its groups as a company's directory would give them.
pub const USER: &str = "alice@example.com";
/// Its groups. The first one may do everything.
pub const GROUPS: [&str; 5] =
    ["platform-team", "developers", "on-call-europe", "cluster-readers", "all-employees"];
/// How many groups a user may have by default, and one of the company's larger users has.
const CROWD: usize = 1_000;
/// Its uid.
pub const SUBJECT: &str = "5f8e3b1c-7d2a-4e0f-9c55-0b6f4f6d2a11";
/// The audience of every token.
pub const CLIENT: &str = "kubernetes";
/// Tokens of a load that shall hit no cache.
pub const MANY: usize = 2_000;

const BINDING: &str =
    "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: bench},
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin},
  subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: platform-team}]}";

/// The provider, the cluster, the stand-in for its API server, and tokens.
pub struct World {
    /// A cluster whose API server holds nobody back.
    pub cluster: Cluster,
    /// The provider.
    pub provider: Provider,
    /// Answers as the API server would, at a fraction of its cost.
    pub stub: Stub,
}

impl World {
    /// Starts all of it.
    pub fn start() -> Result<Self> {
        let provider = provider()?;
        // Priority and fairness would answer 429 long before a proxy is busy.
        let cluster = Cluster::builder()
            .apiserver_arguments([
                "--enable-priority-and-fairness=false",
                "--max-requests-inflight=0",
                "--max-mutating-requests-inflight=0",
            ])
            .steps(Steps::Told)
            .start()?;
        cluster.apply(BINDING)?;
        let stub = Stub::start(&cluster.assets().envoy)?;
        Ok(Self { cluster, provider, stub })
    }

    /// The provider's issuer.
    pub fn issuer(&self) -> Issuer {
        self.provider.issuer()
    }

    /// Authorization values with so many different tokens.
    pub fn tokens(&self, algorithm: Algorithm, count: usize) -> Result<Rc<[HeaderValue]>> {
        let issuer = self.issuer();
        let token = |number: usize| {
            let token = issuer
                .token(USER, CLIENT)
                .claim("jti", format!("{algorithm}-{number}"))
                .expires_in(3600)
                .sign(SignWith::Algorithm(algorithm))
                .mint();
            HeaderValue::try_from(format!("Bearer {token}")).map_err(Into::into)
        };
        (0..count).map(token).collect()
    }

    /// An Authorization value with one token, whose user is in [`crowd`].
    pub fn token_of_a_crowd(&self) -> Result<Rc<[HeaderValue]>> {
        let token = self.issuer().token(USER, CLIENT).claim("groups", crowd()).expires_in(3600);
        let token = token.sign(SignWith::Algorithm(Algorithm::Rs256)).mint();
        Ok(Rc::new([HeaderValue::try_from(format!("Bearer {token}"))?]))
    }

    /// The `AuthenticationConfiguration` for the issuer.
    pub fn authentication(&self) -> Value {
        authentication(&self.provider)
    }

    /// A token of the gateway's ServiceAccount that outlives the run.
    pub fn service_account_token(&self) -> Result<String> {
        let (namespace, name) = Cluster::GATEWAY;
        Ok(self.cluster.service_account_token(namespace, name, 6 * 3600)?)
    }
}

/// A thousand groups, as a directory would give them that puts everybody into one for each project. The first one may do everything.
pub fn crowd() -> Vec<String> {
    let first = GROUPS.map(str::to_owned);
    let others = (GROUPS.len()..CROWD).map(|number| format!("project-{number:04}-members"));
    first.into_iter().chain(others).collect()
}

/// A provider with one issuer that signs by every algorithm that is measured.
pub fn provider() -> Result<Provider> {
    let user = User::new(USER, "secret").subject(SUBJECT).groups(GROUPS);
    let algorithms = [
        Algorithm::Rs256,
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::Ps256,
        Algorithm::MlDsa44,
    ];
    Ok(Provider::start(Config::of(
        IssuerConfig::new("bench", "/realms/bench").algorithms(algorithms).user(user),
    ))?)
}

/// The `AuthenticationConfiguration` for a provider's issuer.
pub fn authentication(provider: &Provider) -> Value {
    json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [{
            "issuer": {
                "url": provider.issuer().url(),
                "audiences": [CLIENT],
                "certificateAuthority": provider.ca_pem(),
            },
            "claimMappings": {
                "username": {"claim": "preferred_username", "prefix": ""},
                "groups": {"claim": "groups", "prefix": ""},
                "uid": {"claim": "sub"},
            },
        }],
    })
}
