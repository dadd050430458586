//! What is attacked: a gateway whose issuer will sign anything, and what the API server's audit log says about it.

use std::{collections::BTreeSet, env, time::Duration};

use oidc_provider::{Config, Issuer, IssuerConfig, Provider, TokenBuilder, User};
use sandbox::{
    Cluster, Gateway, GatewayBuilder, Result,
    audit::{Event, Identity, Mark, Stage},
};
use serde_json::{Value, json};

use crate::{
    harness::{self, cluster},
    wire::{Answer, Ask, Version},
};

/// The audience of every token.
pub const CLIENT: &str = "kubernetes";

/// The user of every good token.
pub const USER: &str = "alice";

/// How long the API server may take to write down what it has answered.
const LOGGED: Duration = Duration::from_secs(10);

/// A provider and a gateway that takes its tokens.
pub struct Target {
    /// The gateway.
    pub gateway: Gateway,
    /// Its provider; its first issuer is [`Target::issuer`].
    pub provider: Provider,
}

impl Target {
    /// One with the settings of a `GatewayConfiguration`, as `{"keySets": {..}}`.
    pub fn start(settings: &Value) -> Self {
        Self::start_with(settings, |gateway| gateway)
    }

    /// One whose gateway is changed before it starts.
    pub fn start_with(
        settings: &Value,
        change: impl FnOnce(GatewayBuilder<'static>) -> GatewayBuilder<'static>,
    ) -> Self {
        Self::start_at(provider(), settings, change)
    }

    /// One in front of a provider that is there already.
    pub fn start_at(
        provider: Provider,
        settings: &Value,
        change: impl FnOnce(GatewayBuilder<'static>) -> GatewayBuilder<'static>,
    ) -> Self {
        let builder = harness::gateway(authentication(&provider)).workers(workers());
        let gateway = change(builder.configuration(configuration(settings))).start().unwrap();
        Self { gateway, provider }
    }

    /// One whose Envoy has a second gateway, with another issuer and looser rules: what is refused here would pass there.
    pub fn start_beside_another(provider: Provider, settings: &Value) -> Self {
        let other = Provider::start(Config::of(issuer("other"))).unwrap();
        let loose = json!({
            "allowedReserved": {"users": ["system:admin"], "groups": ["system:masters"]},
        });
        let (issuers, rules) = (authentication(&other), configuration(&loose));
        Self::start_at(provider, settings, |gateway| gateway.beside(issuers, rules))
    }

    /// The issuer of the good tokens.
    pub fn issuer(&self) -> Issuer {
        self.provider.issuer()
    }

    /// A good token in the making.
    pub fn token(&self) -> TokenBuilder {
        self.issuer().token(USER, CLIENT)
    }

    /// Asks, and has the audit log's word for it that the API server saw the user that `token` names and nothing else.
    pub fn assert_served(
        &self,
        case: &str,
        ask: &Ask,
        version: Version,
        want: &Identity,
    ) -> Answer {
        let mark = cluster().audit().mark().unwrap();
        let answer = ask.send(&self.gateway, version).unwrap_or_else(|error| {
            panic!("{case}, {version:?}: no answer: {error}");
        });
        let seen = try_seen(mark, ask);
        let seen = seen.unwrap_or_else(|e| panic!("{case}, {version:?}: {e}: {answer:?}"));
        assert_eq!(seen.user.username, Cluster::GATEWAY_USER, "{case}, {version:?}");
        assert_eq!(seen.impersonated_user.as_ref(), Some(want), "{case}, {version:?}: {answer:?}");
        assert_eq!(answer.header("audit-id"), Some(&*seen.audit_id), "{case}, {version:?}");
        answer
    }

    /// Whom the API server sees for this token.
    pub fn identity(&self, token: &str) -> Identity {
        let mark = cluster().audit().mark().unwrap();
        let ask = Ask::version().bearer(token);
        let answer = ask.send(&self.gateway, Version::H2).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        let identity = seen(mark, &ask).impersonated_user.unwrap();
        assert_eq!(identity.username, USER);
        identity
    }

    /// Asks, and makes sure of the answer, a `Status`, and that the API server knows nothing of it.
    pub fn assert_refused(
        &self,
        case: &str,
        ask: &Ask,
        version: Version,
        (code, reason): (u16, &str),
    ) -> Answer {
        let mark = cluster().audit().mark().unwrap();
        let answer = ask.send(&self.gateway, version).unwrap_or_else(|error| {
            panic!("{case}, {version:?}: no answer: {error}");
        });
        assert_status(&format!("{case}, {version:?}"), &answer, (code, reason));
        assert_nothing_arrived(case, mark, ask);
        let id = answer.header("audit-id").unwrap_or_default();
        assert_none(case, mark, |event| event.audit_id == id);
        answer
    }
}

/// An answer of the gateway's own: a whole `Status` of this code and reason, under an id for the audit log.
pub fn assert_status(case: &str, answer: &Answer, want: (u16, &str)) {
    assert_bare_status(case, answer, want);
    let audit_id = answer.header("audit-id").unwrap_or_default();
    assert_eq!(audit_id.len(), 36, "{case}: {answer:?}");
}

/// The same for what Envoy could not read as a request: it has no id.
pub fn assert_bare_status(case: &str, answer: &Answer, (code, reason): (u16, &str)) {
    assert_eq!(answer.status, code, "{case}: {answer:?}");
    let status = answer.json();
    let members: BTreeSet<_> = status.as_object().into_iter().flat_map(|o| o.keys()).collect();
    let known =
        ["apiVersion", "code", "details", "kind", "message", "metadata", "reason", "status"];
    assert!(members.iter().all(|member| known.contains(&member.as_str())), "{case}: {status}");
    for (member, want) in [
        ("kind", json!("Status")),
        ("apiVersion", json!("v1")),
        ("status", json!("Failure")),
        ("code", json!(code)),
        ("reason", json!(reason)),
    ] {
        assert_eq!(status[member], want, "{case}: {status}");
    }
    if code == 401 {
        assert_eq!(status["message"], json!("Unauthorized"), "{case}: a 401 says no more");
    }
    assert_eq!(answer.header("content-type"), Some("application/json"), "{case}");
}

/// The API server knows nothing of the request.
pub fn assert_nothing_arrived(case: &str, mark: Mark, ask: &Ask) {
    assert_none(case, mark, |event| event.user_agent == ask.agent());
}

fn assert_none(case: &str, mark: Mark, unwanted: impl Fn(&Event) -> bool) {
    let events = cluster().audit().since(mark).unwrap();
    let arrived: Vec<_> = events.into_iter().filter(unwanted).collect();
    assert!(arrived.is_empty(), "{case}: {arrived:?}");
}

/// What the API server saw of a request that it answered.
pub fn seen(mark: Mark, ask: &Ask) -> Event {
    try_seen(mark, ask).unwrap()
}

fn try_seen(mark: Mark, ask: &Ask) -> Result<Event> {
    let answered = |event: &Event| {
        event.user_agent == ask.agent()
            && matches!(event.stage, Stage::ResponseComplete | Stage::ResponseStarted)
    };
    cluster().audit().wait_for(mark, LOGGED, answered)
}

/// In the whole log behind the mark no request ran as the gateway itself. When one is only received, the API server has not
/// yet looked at whom it impersonates.
pub fn assert_never_the_gateway_itself(mark: Mark) {
    let bare = |event: &Event| {
        event.stage != Stage::RequestReceived
            && event.user.username == Cluster::GATEWAY_USER
            && event.impersonated_user.as_ref().is_none_or(|user| user.username.is_empty())
            // Whether a client may impersonate is the gateway's own question.
            && !event.request_uri.ends_with("reviews")
    };
    let events = cluster().audit().since(mark).unwrap();
    let bare: Vec<_> = events.into_iter().filter(bare).collect();
    assert!(bare.is_empty(), "{bare:?}");
}

/// Envoy's worker threads, for tests that are to hold with any number.
pub fn workers() -> u32 {
    env::var("E2E_WORKERS").map_or(2, |workers| workers.parse().expect("E2E_WORKERS is a number"))
}

/// A provider with one issuer and the user [`USER`] of two groups.
pub fn provider() -> Provider {
    Provider::start(Config::of(issuer("main"))).unwrap()
}

/// An issuer with the user [`USER`].
pub fn issuer(name: &str) -> IssuerConfig {
    IssuerConfig::new(name, format!("/{name}"))
        .user(User::new(USER, "secret").subject("0001").groups(["developers", "testers"]))
}

/// The `AuthenticationConfiguration` for every issuer of a provider: names as they stand in the tokens.
pub fn authentication(provider: &Provider) -> Value {
    let jwt = |issuer: &Issuer| {
        json!({
            "issuer": {
                "url": issuer.url(),
                "audiences": [CLIENT],
                "certificateAuthority": provider.ca_pem(),
            },
            "claimMappings": {
                "username": {"claim": "preferred_username", "prefix": ""},
                "groups": {"claim": "groups", "prefix": ""},
                "uid": {"claim": "sub"},
            },
        })
    };
    json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": provider.issuers().iter().map(jwt).collect::<Vec<_>>(),
    })
}

/// A `GatewayConfiguration` with these settings.
pub fn configuration(settings: &Value) -> Value {
    let mut document = json!({
        "apiVersion": "gateway.kube-oidc.dev/v1alpha1",
        "kind": "GatewayConfiguration",
    });
    let fields = settings.as_object().cloned().unwrap_or_default();
    document.as_object_mut().unwrap().extend(fields);
    document
}
