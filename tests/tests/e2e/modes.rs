//! What a `GatewayConfiguration` turns on, each with a gateway whose account has exactly the rights that
//! `kube-oidc-gateway rbac` prints for it.

mod authorize;
mod expiry;
mod extras;
mod least;
mod tokens;
mod trail;

use gateway_config::{
    Documents,
    rbac::{Form, Role},
};
use oidc_provider::{Config, Preset, Provider, TokenBuilder};
use sandbox::{Credential, Gateway, GatewayBuilder, Kubectl, realm};
use serde_json::{Value, json};

use crate::harness::{self, cluster, until};

/// The extra that users may ask for by `--as-user-extra`.
const ASKED: &str = "example.org/asked";

/// A token of a ServiceAccount that has nothing to do with any gateway, and its name.
pub fn service_account_token() -> (String, &'static str) {
    let manifest =
        "{apiVersion: v1, kind: ServiceAccount, metadata: {namespace: default, name: modes}}";
    cluster().apply(manifest).unwrap();
    let token = cluster().service_account_token("default", "modes", 600).unwrap();
    (token, "system:serviceaccount:default:modes")
}

/// A gateway in some mode.
pub struct Mode {
    pub gateway: Gateway,
    pub provider: Provider,
    account: String,
    /// What its account may do.
    pub role: Role,
}

/// What a mode is made of.
pub struct Settings {
    /// The ServiceAccount's name: one for each test.
    pub account: &'static str,
    /// More of `claimMappings`.
    pub mappings: Value,
    /// The fields of the `GatewayConfiguration`.
    pub gateway: Value,
    pub form: Form,
}

impl Settings {
    pub fn new(account: &'static str, gateway: Value) -> Self {
        Self { account, mappings: json!({}), gateway, form: Form::Plain }
    }

    pub fn start(self) -> Mode {
        self.start_with(|gateway| gateway)
    }

    /// Starts the gateway, and returns when its account has its rights.
    pub fn start_with(
        self,
        change: impl FnOnce(GatewayBuilder<'static>) -> GatewayBuilder<'static>,
    ) -> Mode {
        let provider = Provider::start(Config::of(Preset::KubernetesSandbox.issuer())).unwrap();
        let mut authentication = realm::authentication_of(&provider);
        let mappings = authentication["jwt"][0]["claimMappings"].as_object_mut().unwrap();
        mappings.extend(self.mappings.as_object().unwrap().clone());
        let mut gateway = realm::configuration();
        gateway.as_object_mut().unwrap().extend(self.gateway.as_object().unwrap().clone());

        let documents = Documents::from_values(&authentication, Some(gateway.clone())).unwrap();
        let (first, second) = (documents.authentication(), documents.gateway());
        let role = Role::least(first, second, &[ASKED.to_owned()], self.form);
        let account = self.account.to_owned();
        let manifest = format!(
            "{{apiVersion: v1, kind: ServiceAccount, metadata: {{namespace: kube-oidc-gateway, name: {account}}}}}"
        );
        cluster().apply(&manifest).unwrap();
        let builder = harness::gateway(authentication).configuration(gateway);
        let builder = builder.service_account("kube-oidc-gateway", self.account);
        let gateway = change(builder).start().unwrap();
        let mode = Mode { gateway, provider, account, role };
        mode.grant(&mode.role);
        mode
    }
}

impl Mode {
    /// Gives the account these rights and no others.
    pub fn grant(&self, role: &Role) {
        let manifest = role.to_yaml(&self.account, Some(("kube-oidc-gateway", &self.account)));
        cluster().apply(&manifest).unwrap();
    }

    /// The name that `k8s-user1` has behind the gateway. No other provider's user has it.
    pub fn user(&self) -> String {
        format!("{}#k8s-user1", self.provider.issuer().url())
    }

    /// A good token of `k8s-user1`, in the group `system:viewers`.
    pub fn token(&self) -> TokenBuilder {
        self.provider.issuer().token("k8s-user1", realm::CLIENT).claim("jti", "the-token")
    }

    pub fn kubectl(&self, token: impl Into<String>) -> Kubectl {
        self.gateway.kubectl(Credential::Token(token.into())).unwrap()
    }

    /// Lets `k8s-user1` impersonate these values, each given as a rule's resources and names.
    pub fn let_impersonate(&self, rules: &[(&str, &str, &[&str])]) {
        let rules: Vec<_> = rules
            .iter()
            .map(|(group, resource, names)| {
                json!({"apiGroups": [group], "resources": [resource], "resourceNames": names, "verbs": ["impersonate"]})
            })
            .collect();
        let name = format!("{}-user", self.account);
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": name}, "rules": rules,
        });
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": self.user()}],
        });
        cluster().apply(&role.to_string()).unwrap();
        cluster().apply(&binding.to_string()).unwrap();
    }

    /// Whom the API server sees, or what kubectl says.
    pub fn whoami(&self, token: &str, flags: &[&str]) -> Result<Value, String> {
        let words = [&["auth", "whoami", "-o", "json"], flags].concat();
        let output = self.kubectl(token).run(words).unwrap();
        let answer: Option<Value> = serde_json::from_str(&output.stdout).ok();
        answer.map(|answer| answer["status"]["userInfo"].clone()).ok_or(output.stderr)
    }

    /// What kubectl says to these flags where it should not work. Of `whoami` it would say that the API is missing.
    pub fn refusal(&self, token: &str, flags: &[&str]) -> String {
        let words = [&["get", "--raw", "/version"], flags].concat();
        let output = self.kubectl(token).run(words).unwrap();
        assert!(!output.success(), "{flags:?}: {output:?}");
        output.stderr
    }

    /// [`Self::whoami`], as soon as the API server knows of the rights.
    pub fn whoami_at_last(&self, token: &str, flags: &[&str]) -> Value {
        until("the rights are known", || self.whoami(token, flags).ok())
    }
}
