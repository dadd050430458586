//! From a plan to the documents: an `AuthenticationConfiguration`, the chart's values, a binding, and what users run.

use std::net::IpAddr;

use gateway_core::config::{API_VERSION, KIND};
use serde_json::{Map, Value, json};

use super::{
    answers::{Exposure, Plan},
    provider::Provider,
};

/// Whom the binding is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A group, by its name in the cluster.
    Group(String),
    /// A user, by the name in the cluster.
    User(String),
}

impl Plan {
    /// Issuers and rules, as kube-apiserver takes them.
    pub fn authentication(&self) -> Value {
        let mut issuer = json!({"url": self.issuer_url, "audiences": [self.client_id]});
        if let Some((_, pem)) = &self.ca {
            issuer["certificateAuthority"] = json!(pem);
        }
        let mut mappings = json!({
            "username": {"claim": self.username_claim, "prefix": self.username_prefix},
            "uid": {"claim": self.provider.preset().uid_claim},
        });
        if !self.groups_claim.is_empty() {
            mappings["groups"] = self.groups();
        }
        let mut jwt = json!({"issuer": issuer, "claimMappings": mappings});
        let rules = self.rules();
        if !rules.is_empty() {
            jwt["claimValidationRules"] = json!(rules);
        }
        json!({
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "AuthenticationConfiguration",
            "jwt": [jwt],
        })
    }

    fn groups(&self) -> Value {
        let host = self.issuer_url.split('/').nth(2).unwrap_or_default();
        let host = host.split(':').next().unwrap_or_default();
        match self.provider {
            // Kanidm's groups are NAME@HOST: those of this domain count, without it. The UUIDs beside them do not.
            Provider::Kanidm => {
                let (claim, prefix) = (quoted(&self.groups_claim), quoted(&self.groups_prefix));
                let ending = quoted(&format!("@{host}"));
                json!({"expression": format!(
                    "dyn(claims[{claim}]).filter(group, group.endsWith({ending})).map(group, {prefix} + group.split('@')[0])"
                )})
            }
            _ => json!({"claim": self.groups_claim, "prefix": self.groups_prefix}),
        }
    }

    /// What a token must say, beside who it is for.
    fn rules(&self) -> Vec<Value> {
        let claim = |claim: &str, value: &str| json!({"claim": claim, "requiredValue": value});
        match self.provider {
            // Access tokens are signed with the same keys.
            Provider::Keycloak => vec![claim("typ", "ID")],
            Provider::Entra => {
                let tenant = self.issuer_url.trim_end_matches('/').rsplit('/').nth(1);
                tenant.map(|tenant| claim("tid", tenant)).into_iter().collect()
            }
            Provider::Google => vec![claim("hd", &self.hosted_domain)],
            _ => Vec::new(),
        }
    }

    /// The chart's values.
    pub fn values(&self) -> Value {
        let mut values = Map::new();
        values.insert("authenticationConfiguration".to_owned(), self.authentication());
        let names = if self.host.is_empty() {
            json!({})
        } else if self.host.parse::<IpAddr>().is_ok() {
            json!({"ipAddresses": [self.host]})
        } else {
            json!({"dnsNames": [self.host]})
        };
        let mut tls = names;
        match self.exposure {
            Exposure::PortForward => {}
            Exposure::LoadBalancer => {
                values.insert("service".to_owned(), json!({"type": "LoadBalancer"}));
                // A job waits for what the cloud gives it.
                tls["madeBy"] = json!("job");
                tls["loadBalancerNames"] = json!(true);
            }
            Exposure::NodePort => {
                values.insert("service".to_owned(), json!({"type": "NodePort"}));
            }
            Exposure::Ingress => {
                let mut ingress =
                    json!({"enabled": true, "hosts": [{"host": self.host, "paths": ["/"]}]});
                if !self.ingress_class.is_empty() {
                    ingress["ingressClassName"] = json!(self.ingress_class);
                }
                if self.ingress_class.contains("nginx") {
                    let passthrough = "nginx.ingress.kubernetes.io/ssl-passthrough";
                    ingress["annotations"] = json!({passthrough: "true"});
                }
                values.insert("ingress".to_owned(), ingress);
            }
            Exposure::TlsRoute => {
                let (namespace, name) = &self.parent_gateway;
                let mut parent = json!({"name": name});
                if !namespace.is_empty() {
                    parent["namespace"] = json!(namespace);
                }
                let route =
                    json!({"enabled": true, "parentRefs": [parent], "hostnames": [self.host]});
                values.insert("tlsRoute".to_owned(), route);
            }
        }
        if tls != json!({}) {
            values.insert("tls".to_owned(), tls);
        }
        if let Some(url) = self.url() {
            values.insert("gatewayConfiguration".to_owned(), self.gateway(&url));
        }
        self.add_source(&mut values);
        Value::Object(values)
    }

    /// Has the gateway tell its users where to log in, so that its address is all they need.
    fn gateway(&self, url: &str) -> Value {
        json!({
            "apiVersion": API_VERSION,
            "kind": KIND,
            "protectedResource": {
                "url": url,
                "clients": [{
                    "issuer": self.issuer_url,
                    "clientID": self.client_id,
                    "scopes": self.scopes,
                }],
            },
        })
    }

    /// Where users reach the gateway, if that is known before it is installed.
    fn url(&self) -> Option<String> {
        let is_known = matches!(
            self.exposure,
            Exposure::LoadBalancer | Exposure::Ingress | Exposure::TlsRoute
        );
        let host = self.host.to_lowercase();
        (is_known && !host.is_empty()).then(|| format!("https://{}", bracketed(&host)))
    }

    /// What whoever one starts with may do.
    pub fn binding(&self, subject: &Subject) -> Value {
        let (kind, name) = match subject {
            Subject::Group(name) => ("Group", name),
            Subject::User(name) => ("User", name),
        };
        let group = "rbac.authorization.k8s.io";
        json!({
            "apiVersion": format!("{group}/v1"),
            "kind": "ClusterRoleBinding",
            "metadata": {"name": format!("{}-first-{}", self.fullname(), self.role)},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": self.role},
            "subjects": [{"apiGroup": group, "kind": kind, "name": name}],
        })
    }

    /// A name of the token's as it is in the cluster.
    pub fn subject(&self, group: Option<&str>, user: Option<&str>) -> Option<Subject> {
        let group = group.map(|name| Subject::Group(format!("{}{name}", self.groups_prefix)));
        group.or_else(|| user.map(|name| Subject::User(format!("{}{name}", self.username_prefix))))
    }

    /// What the chart calls its objects.
    pub fn fullname(&self) -> String {
        const CHART: &str = "kube-oidc-gateway";
        if self.release.contains(CHART) {
            self.release.clone()
        } else {
            format!("{}-{CHART}", self.release)
        }
    }

    /// How the gateway is installed, without the chart's place and the files.
    pub fn helm(&self) -> Vec<String> {
        ["upgrade", "--install", &self.release, "--namespace", &self.namespace]
            .into_iter()
            .map(str::to_owned)
            .chain(["--create-namespace".to_owned()])
            .collect()
    }

    /// What an administrator runs once for the users, and what each of them runs.
    pub fn for_users(&self) -> Vec<String> {
        // Both are labels, which a shell takes as they are.
        let (namespace, name) = (&self.namespace, self.fullname());
        let secret = if self.exposure == Exposure::LoadBalancer { "serving" } else { "tls" };
        let mut lines = vec![format!(
            "kubectl -n {namespace} get secret {name}-{secret} -o jsonpath='{{.data.ca\\.crt}}' | base64 -d > gateway-ca.crt"
        )];
        let server = match (self.exposure, &*self.host) {
            (Exposure::PortForward, _) => {
                lines.push(format!("kubectl -n {namespace} port-forward service/{name} 8443:443"));
                "https://localhost:8443".to_owned()
            }
            (Exposure::NodePort, host) => format!("https://{}:NODE_PORT", bracketed(host)),
            (_, "") => "https://ADDRESS_OF_THE_LOAD_BALANCER".to_owned(),
            (_, host) => format!("https://{}", bracketed(host)),
        };
        let mut setup = vec!["kubectl oidc setup".to_owned()];
        if let Some(url) = self.url() {
            setup.push(url);
            let ca = self.ca.iter();
            setup.extend(ca.map(|(path, _)| shell(&authority(&path.display().to_string()))));
        } else {
            setup.push(format!("--server={server}"));
            setup.extend(self.login().iter().map(|flag| shell(flag)));
        }
        setup.insert(2, "--cluster-certificate-authority=gateway-ca.crt".to_owned());
        if self.provider == Provider::Google {
            setup.insert(0, "KUBECTL_OIDC_CLIENT_SECRET=SECRET".to_owned());
        }
        lines.push(setup.join(" "));
        lines
    }

    /// The flags of kubectl-oidc that lead to a token.
    pub fn login(&self) -> Vec<String> {
        let mut flags = vec![
            format!("--oidc-issuer-url={}", self.issuer_url),
            format!("--oidc-client-id={}", self.client_id),
        ];
        if let Some((path, _)) = &self.ca {
            flags.push(authority(&path.display().to_string()));
        }
        if !self.scopes.is_empty() {
            flags.push(format!("--oidc-extra-scope={}", self.scopes.join(",")));
        }
        flags
    }
}

/// The flag with the issuer's CA.
fn authority(path: &str) -> String {
    format!("--certificate-authority={path}")
}

/// A text of CEL's, whose escapes are those of JSON.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// An address as a URL has it.
fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// A word as a shell reads it.
pub fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+./:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;
    use gateway_config::{Documents, parse_gateway};

    use super::{
        super::{answers::Answers, ask::nobody},
        *,
    };

    fn plan(provider: Provider, change: impl FnOnce(&mut Answers)) -> Plan {
        let mut answers = Answers {
            provider: Some(provider),
            oidc_issuer_url: Some(provider.preset().issuer.to_owned()),
            oidc_client_id: Some("kubernetes".to_owned()),
            hosted_domain: Some("example.com".to_owned()),
            ..Answers::default()
        };
        change(&mut answers);
        answers.plan(&mut nobody()).unwrap()
    }

    #[test]
    fn what_is_written_for_each_provider_is_a_good_document() {
        for provider in Provider::value_variants() {
            let authentication = plan(*provider, |_| {}).authentication();
            let documents = Documents::from_values(&authentication, None);
            let documents = documents.unwrap_or_else(|error| panic!("{provider:?}: {error}"));
            assert_eq!(documents.warnings(), [""; 0], "{provider:?}");
        }
        let jwt = |provider| plan(provider, |_| {}).authentication()["jwt"][0].clone();
        let rule = json!([{"claim": "tid", "requiredValue": "TENANT_ID"}]);
        assert_eq!(jwt(Provider::Entra)["claimValidationRules"], rule);
        let rule = json!([{"claim": "hd", "requiredValue": "example.com"}]);
        assert_eq!(jwt(Provider::Google)["claimValidationRules"], rule);
        assert!(jwt(Provider::Google)["claimMappings"].get("groups").is_none());
        let groups = jwt(Provider::Kanidm)["claimMappings"]["groups"]["expression"].clone();
        assert!(groups.as_str().unwrap().contains(r#"endsWith("@idm.example.com")"#), "{groups}");
    }

    #[test]
    fn names_get_into_the_certificate_as_what_they_are() {
        for (exposure, host, want) in [
            ("port-forward", "", json!(null)),
            ("node-port", "192.0.2.1", json!({"ipAddresses": ["192.0.2.1"]})),
            ("ingress", "a.example", json!({"dnsNames": ["a.example"]})),
            ("load-balancer", "", json!({"madeBy": "job", "loadBalancerNames": true})),
        ] {
            let plan = plan(Provider::Other, |answers| {
                answers.exposure = Exposure::from_str(exposure, true).ok();
                answers.host = Some(host.to_owned());
            });
            assert_eq!(plan.values()["tls"], want, "{exposure}");
        }
    }

    /// Where the gateway's address is known, it is all that users are given.
    #[test]
    fn a_known_address_is_enough_for_users() {
        for (exposure, host, url) in [
            ("ingress", "K8s.example", Some("https://k8s.example")),
            ("load-balancer", "192.0.2.1", Some("https://192.0.2.1")),
            ("load-balancer", "", None),
            ("node-port", "192.0.2.1", None),
            ("port-forward", "", None),
        ] {
            let plan = plan(Provider::Entra, |answers| {
                answers.exposure = Exposure::from_str(exposure, true).ok();
                answers.host = Some(host.to_owned());
            });
            let values = plan.values();
            let setup = plan.for_users().pop().unwrap();
            let Some(url) = url else {
                assert_eq!(values["gatewayConfiguration"], json!(null), "{exposure}");
                assert!(setup.contains("--server=") && setup.contains("--oidc-client-id="));
                continue;
            };
            let document = values["gatewayConfiguration"].to_string();
            let read = parse_gateway(document.as_bytes()).unwrap().protected_resource;
            assert_eq!((read.url.as_str(), &*read.clients[0].client_id), (url, "kubernetes"));
            let want =
                format!("kubectl oidc setup {url} --cluster-certificate-authority=gateway-ca.crt");
            assert_eq!(setup, want);
        }
    }

    #[test]
    fn users_get_one_line_that_a_shell_takes() {
        let plan = plan(Provider::Keycloak, |answers| {
            answers.oidc_client_id = Some("it's mine".to_owned());
            answers.release = Some("login".to_owned());
        });
        let lines = plan.for_users();
        assert!(lines[0].contains("get secret login-kube-oidc-gateway-tls"), "{lines:?}");
        assert!(lines[2].ends_with(r"'--oidc-client-id=it'\''s mine'"), "{lines:?}");
        let subject = plan.subject(Some("admins"), None).unwrap();
        assert_eq!(subject, Subject::Group("keycloak:admins".to_owned()));
        assert_eq!(plan.binding(&subject)["subjects"][0]["name"], "keycloak:admins");
    }
}
