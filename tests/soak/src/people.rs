//! Who uses the cluster: issuers, users, what they may do, and tokens, good and bad.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use hyper::header::HeaderValue;
use oidc_provider::{Algorithm, Config, Issuer, IssuerConfig, Provider, Rotation, SignWith, User};
use serde_json::{Value, json};

use crate::ledger::Identity;

/// The audience of every good token.
const CLIENT: &str = "kubernetes";
/// The namespace in which users work.
pub const NAMESPACE: &str = "soak";
/// The pod in which they run commands.
pub const POD: &str = "soak";
/// The number of the issuer that joins and leaves.
pub const GUEST: usize = 3;
/// Whom deputies may act as.
const TARGET: &str = "target:jane";
/// Seconds for which a key set is fresh, as the configuration has it.
const KEY_SET_SECONDS: u64 = 10;
/// How long after a key has left its issuer's key set a token of it may still be taken: the set's lifetime, the time for
/// a fetch, and as much again for a busy machine.
pub const DOUBT: Duration = Duration::from_secs(KEY_SET_SECONDS + 10);
/// Tokens of keys that have left, which are sent again.
const RETIRED: usize = 24;

/// A kind of person: a name, the groups, and what they allow.
struct Role {
    name: &'static str,
    groups: fn() -> Vec<String>,
    rights: Rights,
}

/// What the API server lets a user do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a right of its own")]
pub struct Rights {
    /// Get, list and watch.
    pub read: bool,
    /// Create and delete.
    pub write: bool,
    /// Run commands.
    pub exec: bool,
    /// Act as [`TARGET`].
    pub deputy: bool,
}

const NOTHING: Rights = Rights { read: false, write: false, exec: false, deputy: false };
const READ: Rights = Rights { read: true, ..NOTHING };
const WRITE: Rights = Rights { write: true, ..READ };

/// At every issuer there are persons of the same names: a mix-up of issuers shows by the prefix.
const ROLES: [Role; 7] = [
    Role { name: "ann", groups: || list(&["readers"]), rights: READ },
    Role { name: "bob", groups: || list(&["writers", "readers"]), rights: WRITE },
    Role { name: "cid", groups: || list(&["readers", "équipe", "команда"]), rights: READ },
    Role { name: "dee", groups: Vec::new, rights: NOTHING },
    Role {
        name: "eve",
        groups: || list(&["deputies", "readers"]),
        rights: Rights { deputy: true, ..READ },
    },
    Role { name: "fay", groups: many, rights: READ },
    Role {
        name: "gus",
        groups: || list(&["operators", "writers", "readers"]),
        rights: Rights { exec: true, ..WRITE },
    },
];

fn list(groups: &[&str]) -> Vec<String> {
    groups.iter().map(|&group| group.to_owned()).collect()
}

fn many() -> Vec<String> {
    (0..60).map(|number| format!("team-{number}")).chain(["readers".to_owned()]).collect()
}

/// Name and prefix, and the algorithms it signs with.
const ISSUERS: [(&str, [Algorithm; 3]); 4] = [
    ("alpha", [Algorithm::Rs256, Algorithm::Es256, Algorithm::Ps256]),
    ("beta", [Algorithm::Es384, Algorithm::Rs512, Algorithm::Ps384]),
    ("gamma", [Algorithm::Es512, Algorithm::Ps512, Algorithm::Rs384]),
    ("guest", [Algorithm::Es256, Algorithm::Rs256, Algorithm::Es384]),
];

/// A user.
pub struct Person {
    /// The number of the issuer.
    pub issuer: usize,
    /// What the API server allows.
    pub rights: Rights,
    /// As kube-apiserver must see them.
    pub identity: Arc<Identity>,
    login: &'static str,
    algorithm: Algorithm,
}

/// A good token, as long as its key is.
#[derive(Clone)]
pub struct Token {
    /// For the header `Authorization`.
    pub authorization: HeaderValue,
    /// Its `jti`.
    pub credential: String,
    /// Whose it is.
    pub person: usize,
    /// Until when it is used.
    until: Instant,
    generation: u64,
}

/// What may be expected of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It must be taken.
    Good,
    /// It may be.
    Doubtful,
    /// It must not be.
    Dead,
}

/// A token that is good for nothing.
pub struct Bad {
    /// What it is.
    pub kind: &'static str,
    /// For the header `Authorization`.
    pub authorization: Option<HeaderValue>,
    /// The number of the issuer that it names.
    pub issuer: usize,
    /// Whether no key of its issuer verifies it, so that the issuer is asked whether it has another.
    pub unverified: bool,
}

/// Whether an issuer is in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// It is.
    In,
    /// It joins or leaves.
    Changing,
    /// It is not.
    Out,
}

/// The issuers and users of a run.
pub struct People {
    /// Everybody.
    pub persons: Vec<Person>,
    /// Whom deputies act as.
    pub target: Arc<Identity>,
    provider: Provider,
    issuers: Vec<Issuer>,
    states: Vec<Mutex<State>>,
    jti: AtomicU64,
}

/// An issuer's keys, as far as tokens depend on them.
struct State {
    generation: u64,
    /// Generations of keys that have left, and until when their tokens are in doubt.
    left: BTreeMap<u64, Instant>,
    membership: Membership,
    retired: Vec<Token>,
    current: BTreeMap<usize, Token>,
}

impl People {
    /// Starts the provider.
    pub fn start() -> Result<Self> {
        let mut config = Config::default();
        for (name, algorithms) in ISSUERS {
            let issuer = IssuerConfig::new(name, format!("/realms/{name}")).algorithms(algorithms);
            let users = ROLES.iter().map(|role| {
                let user = User::new(role.name, "secret").groups((role.groups)());
                user.subject(format!("uid-{name}-{}", role.name))
            });
            config = config.issuer(users.fold(issuer, IssuerConfig::user));
        }
        let provider = Provider::start(config)?;
        let mut persons = Vec::new();
        for (issuer, (prefix, algorithms)) in ISSUERS.iter().enumerate() {
            let roles = ROLES.iter().take(if issuer == GUEST { 3 } else { ROLES.len() });
            for (role, algorithm) in roles.zip(algorithms.iter().cycle()) {
                let groups = (role.groups)().into_iter().map(|group| format!("{prefix}:{group}"));
                let identity = Identity {
                    name: format!("{prefix}:{}", role.name),
                    groups: groups.chain(["system:authenticated".to_owned()]).collect(),
                    uid: format!("uid-{prefix}-{}", role.name),
                };
                persons.push(Person {
                    issuer,
                    rights: role.rights,
                    identity: Arc::new(identity),
                    login: role.name,
                    algorithm: *algorithm,
                });
            }
        }
        let states = ISSUERS.iter().map(|_| {
            let (left, current) = Default::default();
            let (generation, retired, membership) = (0, Vec::new(), Membership::In);
            Mutex::new(State { generation, left, membership, retired, current })
        });
        let states = states.collect();
        let target = Arc::new(Identity {
            name: TARGET.to_owned(),
            groups: vec!["system:authenticated".to_owned()],
            uid: String::new(),
        });
        let issuers = provider.issuers();
        Ok(Self { persons, target, provider, issuers, states, jti: AtomicU64::new(0) })
    }

    /// The issuer of this number.
    pub fn issuer(&self, number: usize) -> &Issuer {
        &self.issuers[number]
    }

    /// The issuers' numbers that are always there.
    pub fn residents() -> std::ops::Range<usize> {
        0..GUEST
    }

    /// The token that a person uses now.
    pub fn token(&self, number: usize, random: &mut fastrand::Rng, now: Instant) -> Result<Token> {
        let person = self.persons.get(number).context("no such person")?;
        let mut state = self.state(person.issuer);
        if let Some(token) = state.current.get(&number).filter(|token| token.until > now) {
            return Ok(token.clone());
        }
        let lives = Duration::from_secs(random.u64(10..120));
        let credential = format!("soak-{}", self.jti.fetch_add(1, Ordering::Relaxed));
        let token = self.issuers[person.issuer]
            .token(person.login, CLIENT)
            .claim("jti", credential.as_str())
            .expires_in(600)
            .sign(SignWith::Algorithm(person.algorithm))
            .try_mint()?;
        let token = Token {
            authorization: bearer(&token)?,
            credential,
            person: number,
            until: now + lives,
            generation: state.generation,
        };
        state.current.insert(number, token.clone());
        Ok(token)
    }

    /// A token whose key has left or is about to; `None` if there is none.
    pub fn retired(&self, random: &mut fastrand::Rng) -> Option<Token> {
        let state = self.state(random.usize(Self::residents()));
        random.choice(&state.retired).cloned()
    }

    /// What may be expected of a token now.
    pub fn standing(&self, token: &Token, now: Instant) -> Standing {
        let Some(person) = self.persons.get(token.person) else { return Standing::Dead };
        let state = self.state(person.issuer);
        match (state.membership, state.left.get(&token.generation)) {
            (Membership::Out, _) => Standing::Dead,
            (Membership::In, None) => Standing::Good,
            (_, Some(until)) if *until <= now => Standing::Dead,
            _ => Standing::Doubtful,
        }
    }

    /// Gives an issuer new keys. Tokens are made with them from here on; those before serve on if keys overlap.
    pub fn rotate(&self, issuer: usize, rotation: Rotation, now: Instant) {
        let mut state = self.state(issuer);
        let old: Vec<Token> = std::mem::take(&mut state.current).into_values().collect();
        state.retired.extend(old);
        let many = state.retired.len().saturating_sub(RETIRED);
        state.retired.drain(..many);
        state.generation += 1;
        if rotation == Rotation::Replace {
            state.leave(now);
        }
        self.issuers[issuer].rotate(rotation);
    }

    /// Ends an overlap.
    pub fn retire(&self, issuer: usize, now: Instant) {
        self.state(issuer).leave(now);
        self.issuers[issuer].retire_old_keys();
    }

    /// Notes how the guest issuer stands.
    pub fn set_guest(&self, membership: Membership) {
        self.state(GUEST).membership = membership;
    }

    /// A token that is good for nothing.
    pub fn bad(&self, random: &mut fastrand::Rng) -> Result<Bad> {
        let number = random.usize(Self::residents());
        let issuer = &self.issuers[number];
        let [algorithm, second, _] = ISSUERS[number].1;
        let token = || {
            let jti = self.jti.fetch_add(1, Ordering::Relaxed);
            issuer.token("bob", CLIENT).claim("jti", format!("bad-{jti}")).expires_in(600)
        };
        let (kind, text, unverified) = match random.u8(0..9) {
            0 => ("no token", None, false),
            1 => ("expired", Some(token().expires_in(-30).try_mint()?), false),
            2 => ("not yet valid", Some(token().valid_in(600).try_mint()?), false),
            3 => {
                let forged = token().sign(SignWith::Stranger(algorithm)).try_mint()?;
                ("forged", Some(forged), true)
            }
            4 => ("alg none", Some(token().sign(SignWith::None).try_mint()?), false),
            5 => ("other audience", Some(issuer.token("bob", "other").try_mint()?), false),
            6 => {
                let url = "https://127.0.0.1:1/realms/none";
                ("unknown issuer", Some(token().claim("iss", url).try_mint()?), false)
            }
            7 => {
                let kid = format!("unknown-{}", random.u32(..));
                let forged = token().sign(SignWith::Stranger(second)).header("kid", kid);
                ("unknown key", Some(forged.try_mint()?), true)
            }
            _ => ("no JWT", Some("opaque-token".to_owned()), false),
        };
        let authorization = text.as_deref().map(bearer).transpose()?;
        Ok(Bad { kind, authorization, issuer: number, unverified })
    }

    /// The `AuthenticationConfiguration`, with or without the guest issuer.
    pub fn authentication(&self, guest: bool) -> Value {
        self.authentication_under(guest, self.provider.ca_pem())
    }

    /// The same, with this CA for the issuers.
    pub fn authentication_under(&self, guest: bool, ca: &str) -> Value {
        let issuers = ISSUERS.iter().zip(&self.issuers).take(if guest { GUEST + 1 } else { GUEST });
        let jwt: Vec<Value> = issuers
            .map(|((prefix, _), issuer)| {
                json!({
                    "issuer": {"url": issuer.url(), "audiences": [CLIENT], "certificateAuthority": ca},
                    "claimMappings": {
                        "username": {"claim": "preferred_username", "prefix": format!("{prefix}:")},
                        "groups": {"claim": "groups", "prefix": format!("{prefix}:")},
                        "uid": {"claim": "sub"},
                    },
                })
            })
            .collect();
        json!({
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "AuthenticationConfiguration",
            "jwt": jwt,
        })
    }

    fn state(&self, issuer: usize) -> std::sync::MutexGuard<'_, State> {
        self.states[issuer].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Every generation before the current one has left, or leaves now.
    fn leave(&mut self, now: Instant) {
        for generation in 0..self.generation {
            self.left.entry(generation).or_insert(now + DOUBT);
        }
    }
}

/// The `GatewayConfiguration`; `generation` tells one from the next.
pub fn configuration(generation: u64) -> Value {
    json!({
        "apiVersion": "gateway.kube-oidc.dev/v1alpha1",
        "kind": "GatewayConfiguration",
        "clientImpersonation": "authorize",
        "extras": {"headers": {"soak": [generation.to_string()]}},
        // All users of the soak have one address.
        "limits": {"signatureChecksPerSecond": 10_000},
        "keySets": {
            "defaultLifetimeSeconds": KEY_SET_SECONDS,
            "minimumLifetimeSeconds": 5,
            "minimumRefetchSeconds": 1,
        },
    })
}

/// What the cluster must hold: the namespace, the users' rights, the gateway's, and a pod.
pub fn manifest() -> String {
    let group = |name: &str| -> Vec<Value> {
        let of = |(prefix, _): &(&str, _)| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": format!("{prefix}:{name}")});
        ISSUERS.iter().map(of).collect()
    };
    let rbac = "rbac.authorization.k8s.io";
    let binding = |name: &str, role: &str, subjects: Vec<Value>| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": role}, "subjects": subjects,
        })
    };
    let role = |name: &str, rules: Value| json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules});
    let (namespace, account) = sandbox::Cluster::GATEWAY;
    let extras = [
        "soak",
        "originaluser.jetstack.io-user",
        "originaluser.jetstack.io-groups",
        "originaluser.jetstack.io-uid",
        "originaluser.jetstack.io-extra",
    ];
    let extras: Vec<String> = extras.iter().map(|key| format!("userextras/{key}")).collect();
    let objects = [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        binding("soak-readers", "view", group("readers")),
        binding("soak-writers", "edit", group("writers")),
        binding("soak-operators", "edit", group("operators")),
        role(
            "soak-deputy",
            json!([{"apiGroups": [""], "resources": ["users"], "resourceNames": [TARGET], "verbs": ["impersonate"]}]),
        ),
        binding("soak-deputies", "soak-deputy", group("deputies")),
        binding(
            "soak-target",
            "view",
            vec![json!({"apiGroup": rbac, "kind": "User", "name": TARGET})],
        ),
        role(
            "soak-gateway",
            json!([
                {"apiGroups": ["authentication.k8s.io"], "resources": extras, "verbs": ["impersonate"]},
                {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]},
                {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]},
            ]),
        ),
        binding(
            "soak-gateway",
            "soak-gateway",
            vec![json!({"kind": "ServiceAccount", "name": account, "namespace": namespace})],
        ),
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": POD, "namespace": NAMESPACE},
            "spec": {"nodeName": sandbox::NODE, "containers": [{"name": "main", "image": "none"}]},
        }),
    ];
    objects.iter().map(Value::to_string).collect::<Vec<_>>().join("\n---\n")
}

fn bearer(token: &str) -> Result<HeaderValue> {
    Ok(HeaderValue::try_from(format!("Bearer {token}"))?)
}
