//! docs/troubleshooting.md has what kubectl prints, to the letter.

use std::{net::TcpListener, thread, time::Duration};

use oidc_provider::{Answer, Config, Endpoint, Misbehaviour, Preset, Provider, TokenBuilder};
use sandbox::{Credential, Gateway, GatewayBuilder, Kubectl, realm};
use serde_json::{Value, json};

use crate::{
    harness::{self, cluster, until},
    modes::Settings,
};

const DOCUMENT: &str = include_str!("../../../docs/troubleshooting.md");

/// A gateway for one refusal.
struct Scene {
    provider: Provider,
    gateway: Gateway,
}

impl Scene {
    fn new(
        settings: &Value,
        change: impl FnOnce(GatewayBuilder<'static>) -> GatewayBuilder<'static>,
    ) -> Self {
        let provider = Provider::start(Config::of(Preset::KubernetesSandbox.issuer())).unwrap();
        Self::of(provider, settings, change)
    }

    fn of(
        provider: Provider,
        settings: &Value,
        change: impl FnOnce(GatewayBuilder<'static>) -> GatewayBuilder<'static>,
    ) -> Self {
        let mut configuration = realm::configuration();
        configuration.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let gateway = harness::gateway(realm::authentication_of(&provider));
        let gateway = change(gateway.configuration(configuration)).start().unwrap();
        Self { provider, gateway }
    }

    fn token(&self) -> TokenBuilder {
        self.provider.issuer().token("k8s-user1", realm::CLIENT)
    }

    fn kubectl(&self, token: String) -> Kubectl {
        self.gateway.kubectl(Credential::Token(token)).unwrap()
    }

    /// What kubectl prints, with the names that differ from run to run replaced.
    fn printed(&self, token: String, flags: &[&str]) -> String {
        let words = [&["get", "--raw", "/version"], flags].concat();
        let output = self.kubectl(token).run(words).unwrap();
        assert!(!output.success(), "{output:?}");
        let issuer = self.provider.issuer().url().to_owned();
        output.stderr.replace(&issuer, "https://issuer.example").trim_end().to_owned()
    }
}

/// The text under the heading that has a word, up to the next heading.
fn section(word: &str) -> &'static str {
    let word = format!("`{word}`");
    let has =
        |section: &&str| section.lines().next().is_some_and(|heading| heading.contains(&word));
    DOCUMENT.split("\n## ").find(has).unwrap_or_else(|| panic!("nothing on {word}"))
}

fn assert_documented(word: &str, printed: &str) {
    let block = format!("```\n{printed}\n```");
    assert!(section(word).contains(&block), "{word} is not documented with:\n{printed}");
}

#[test]
fn what_is_unauthorized_says_no_more() {
    let scene = Scene::new(&json!({"tokenReview": {"enabled": false}}), |it| it);
    let other = Provider::start(Config::of(Preset::KubernetesSandbox.issuer())).unwrap();
    let unknown = other.issuer().token("k8s-user1", realm::CLIENT).mint();
    for (word, token) in [
        ("verify", scene.token().expires_in(-60).mint()),
        ("token", "abc".to_owned()),
        ("unknown_issuer", unknown),
        ("identity", scene.token().without("preferred_username").mint()),
    ] {
        assert_documented(word, &scene.printed(token, &[]));
    }
    let kubectl = scene.gateway.kubectl(Credential::None).unwrap();
    let output = kubectl.run(["get", "--raw", "/version"]).unwrap();
    assert_documented("no_credential", output.stdout.trim_end());
}

#[test]
fn a_condition_says_what_it_asks_for() {
    for condition in [
        json!({"name": "exec-from-office", "expression": "false", "message": "exec only from the office's network"}),
        json!({"name": "delete-in-kube-system", "login": {"acr": ["mfa"], "maxAgeSeconds": 900},
               "message": "deleting here needs a second factor"}),
    ] {
        let scene = Scene::new(&json!({"conditions": [condition]}), |it| it);
        assert_documented("condition", &scene.printed(scene.token().mint(), &[]));
    }
}

#[test]
fn what_no_new_login_would_cure_is_explained() {
    let scene = Scene::new(&json!({"limits": {"groups": 3, "tokenBytes": 2000}}), |it| it);
    let groups = |names: &[&str]| scene.token().claim("groups", names).mint();
    for (word, token) in [
        ("guard", groups(&["system:nodes"])),
        ("identity_too_large", groups(&["a", "b", "c", "d"])),
        ("token_too_large", scene.token().claim("x", "x".repeat(3000)).mint()),
    ] {
        assert_documented(word, &scene.printed(token, &[]));
    }
    let reject = Scene::new(&json!({"clientImpersonation": "reject"}), |it| it);
    let printed = reject.printed(reject.token().mint(), &["--as=bob"]);
    assert_documented("impersonation_rejected", &printed);
    let authorize = json!({"clientImpersonation": "authorize"});
    let account = "{apiVersion: v1, kind: List, items: [
      {apiVersion: v1, kind: ServiceAccount, metadata: {namespace: kube-oidc-gateway, name: may-not-ask}},
      {apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: may-not-ask},
       rules: [{apiGroups: ['', authentication.k8s.io], resources: [users, groups, uids], verbs: [impersonate]}]},
      {apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: may-not-ask},
       roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: may-not-ask},
       subjects: [{kind: ServiceAccount, namespace: kube-oidc-gateway, name: may-not-ask}]}]}";
    cluster().apply(account).unwrap();
    let scene = Scene::new(&authorize, |it| it.service_account("kube-oidc-gateway", "may-not-ask"));
    let printed = scene.printed(scene.token().mint(), &["--as=bob"]);
    assert_documented("review_forbidden", &printed);
    let authorize = Settings::new("troubleshooting", authorize).start();
    let token = authorize.token().mint();
    authorize.whoami_at_last(&token, &[]);
    let issuer = authorize.provider.issuer().url().to_owned();
    let printed = |flags: &[&str]| {
        authorize
            .refusal(&token, flags)
            .replace(&issuer, "https://issuer.example")
            .trim_end()
            .to_owned()
    };
    assert_documented("impersonation_forbidden", &printed(&["--as=bob"]));
    let many: Vec<_> = (0..65).map(|number| format!("--as-group=g{number}")).collect();
    let flags: Vec<_> = many.iter().map(String::as_str).chain(["--as=bob"]).collect();
    assert_documented("too_many_impersonated", &printed(&flags));
}

/// kubectl tries again by itself what comes with Retry-After, ten times, and prints the last answer.
#[test]
fn what_may_be_better_soon_says_so() {
    thread::scope(|scope| {
        scope.spawn(|| {
            let provider = Provider::start(Config::of(Preset::KubernetesSandbox.issuer())).unwrap();
            let down = Misbehaviour::answer(Answer::Status(503));
            provider.issuer().misbehave(Endpoint::Discovery, down).unwrap();
            let scene = Scene::of(provider, &json!({}), |it| it);
            assert_documented("no_keys", &scene.printed(scene.token().mint(), &[]));
        });
        scope.spawn(|| {
            let provider = Provider::start(Config::of(Preset::KubernetesSandbox.issuer())).unwrap();
            let issuer = provider.issuer();
            // The directory wants a credential, and the gateway has none for it.
            let source = json!({"name": "directory", "issuer": issuer.url(), "path": "/${claims.sub}",
                "url": issuer.endpoint(Endpoint::Directory), "groups": "answer.groups"});
            let scene = Scene::of(provider, &json!({"groupSources": [source]}), |it| it);
            let token = scene.token().without("groups").mint();
            assert_documented("group_source", &scene.printed(token, &[]));
        });
        scope.spawn(|| {
            // Nobody listens there.
            let scene = Scene::new(&json!({}), |it| it.inputs(|inputs| inputs.apiserver.port = 9));
            assert_documented("upstream", &scene.printed(scene.token().mint(), &[]));
        });
        scope.spawn(|| {
            let scene = Scene::new(&json!({}), |it| it);
            scene.gateway.replace_token("no-token-of-the-cluster").unwrap();
            assert_documented("gateway_credential", &scene.printed(scene.token().mint(), &[]));
        });
        scope.spawn(|| {
            let provider = Provider::start(Config::of(Preset::KubernetesSandbox.issuer())).unwrap();
            let issuer = provider.issuer();
            let introspection = json!([{
                "name": "sandbox", "issuer": issuer.url(),
                "endpoint": issuer.endpoint(Endpoint::Introspection),
            }]);
            let scene = Scene::of(provider, &json!({"introspection": introspection}), |it| it);
            // Nobody has told the issuer who asks.
            assert_documented("introspection_failed", &scene.printed("opaque".to_owned(), &[]));
        });
        let authorize = json!({"clientImpersonation": "authorize"});
        let scene = Scene::new(&authorize, |it| it.inputs(|inputs| inputs.apiserver.port = 9));
        assert_documented("review_failed", &scene.printed(scene.token().mint(), &["--as=bob"]));
    });
}

/// What Envoy answers by itself: kubectl prints these, too.
#[test]
fn envoys_own_answers_are_explained() {
    thread::scope(|scope| {
        scope.spawn(|| {
            // HTTP/2 has no answer for it: the stream is reset.
            let scene =
                Scene::new(&json!({}), |it| it.inputs(|i| i.options.protocols.http2 = false));
            let token = scene.token().claim("x", "x".repeat(200 << 10)).mint();
            assert_documented("431", &scene.printed(token, &[]));
        });
        scope.spawn(|| {
            let scene = Scene::new(&json!({}), |it| it);
            scene.gateway.replace_token("").unwrap();
            let kubectl = scene.kubectl(scene.token().mint());
            until("the token is gone", || {
                (!kubectl.run(["get", "--raw", "/version"]).unwrap().success()).then_some(())
            });
            assert_documented("503", &scene.printed(scene.token().mint(), &[]));
        });
        scope.spawn(|| {
            // Connections are taken there, and nothing is ever said.
            let silence = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            let port = silence.local_addr().unwrap().port();
            let scene = Scene::new(&json!({}), |it| {
                it.inputs(move |i| {
                    i.apiserver.port = port;
                    i.options.request_timeout = Some(Duration::from_secs(1));
                })
            });
            assert_documented("504", &scene.printed(scene.token().mint(), &[]));
        });
        scope.spawn(|| {
            let closed = sandbox::Port::reserve().unwrap();
            let port = closed.address().port();
            let scene = Scene::new(&json!({}), |it| it.inputs(move |i| i.apiserver.port = port));
            assert_documented("unreachable", &scene.printed(scene.token().mint(), &[]));
        });
        let scene = Scene::new(&json!({}), |it| it.filter(gateway_tests::built::rogue()));
        // A filter that decides nothing: the gate is shut.
        assert_documented("403", &scene.printed(scene.token().mint(), &[]));
    });
}

/// Every word that the log and the metrics can have is explained.
#[test]
fn every_reason_is_there() {
    let source = include_str!("../../../filter/core/src/refusal.rs");
    let words = source.lines().filter_map(|line| {
        let (_, word) = line.trim().strip_prefix("Self::")?.split_once(" => \"")?;
        word.strip_suffix("\",")
    });
    let words: Vec<_> = words.collect();
    assert!(words.len() > 20, "{words:?}");
    for word in words {
        section(word);
    }
}
