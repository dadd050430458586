//! What every chain stands between: a provider whose tokens the clients hold, and the API server or its stand-in.

use std::{fs, path::PathBuf, rc::Rc, time::Duration};

use anyhow::{Context, Result};
use hyper::header::HeaderValue;
use oidc_provider::{
    Algorithm, ClientConfig, Config, Endpoint, Issuer, IssuerConfig, Provider, SignWith, User,
};
use sandbox::{Cluster, Steps};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{process::READY, stub::Stub};

/// The user of every token, with its groups as a company's directory would give them.
pub const USER: &str = "alice@example.com";
/// Its groups. The first one may do everything.
pub const GROUPS: [&str; 5] =
    ["platform-team", "developers", "on-call-europe", "cluster-readers", "all-employees"];
/// How many groups a user may have by default, and one of the company's larger users has.
const CROWD: usize = 1_000;
/// A user like this one, who is in [`crowd`] by the issuer's directory.
const MEMBER: &str = "bobby@example.com";
/// Who asks the directory.
const ASKER: (&str, &str) = ("gateway", "the-secret-of-the-gateways-client");
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
    /// The Envoy that is measured.
    pub envoy: PathBuf,
    /// How long it may take to be ready.
    pub patience: Duration,
    /// The provider.
    pub provider: Provider,
    /// Answers as the API server would, at a fraction of its cost.
    pub stub: Stub,
    /// With the secret of who asks the directory.
    secrets: TempDir,
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
        let secrets = tempfile::tempdir().context("cannot make a folder")?;
        fs::write(secrets.path().join("secret"), ASKER.1).context("cannot write a secret")?;
        let envoy = cluster.assets().envoy.clone();
        let patience = READY;
        Ok(Self { cluster, envoy, patience, provider, stub, secrets })
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

    /// An Authorization value with one token that says that its user is in more groups than it has. The directory has [`crowd`].
    pub fn token_of_an_overflow(&self) -> Result<HeaderValue> {
        self.overflowing(MEMBER, MEMBER)
    }

    /// The same for somebody of this id in the directory.
    pub fn token_of_a_stranger(&self, id: &str) -> Result<HeaderValue> {
        self.overflowing(USER, id)
    }

    fn overflowing(&self, user: &str, id: &str) -> Result<HeaderValue> {
        let token = self.issuer().token(user, CLIENT).without("groups").expires_in(3600);
        let token = token.claim("oid", id).claim("sub", id);
        let elsewhere =
            json!({"src1": {"endpoint": "https://graph.windows.net/me/getMemberObjects"}});
        let token = token.claim("_claim_names", json!({"groups": "src1"}));
        let token = token.claim("_claim_sources", elsewhere);
        let token = token.sign(SignWith::Algorithm(Algorithm::Rs256)).mint();
        Ok(HeaderValue::try_from(format!("Bearer {token}"))?)
    }

    /// A group source in Entra ID's form: the issuer's directory. Of its groups those count that the cluster knows.
    pub fn group_source(&self) -> Value {
        let issuer = self.issuer();
        json!({
            "name": "directory", "issuer": issuer.url(), "provider": "entra", "value": "names", "when": "Overflow",
            "url": issuer.endpoint(Endpoint::Directory), "only": GROUPS, "requestsPerSecond": 1000,
            "credential": {"oauth2": {
                "tokenEndpoint": issuer.endpoint(Endpoint::Token), "clientID": ASKER.0,
                "clientSecretFile": self.secrets.path().join("secret"), "secretInBody": true,
            }},
        })
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
    let member = User::new(MEMBER, "secret").subject(MEMBER).groups(crowd());
    let algorithms = [
        Algorithm::Rs256,
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::Ps256,
        Algorithm::MlDsa44,
    ];
    Ok(Provider::start(Config::of(
        IssuerConfig::new("bench", "/realms/bench")
            .algorithms(algorithms)
            .user(user)
            .user(member)
            .client(ClientConfig::confidential(ASKER.0, ASKER.1)),
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
