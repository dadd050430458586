//! Groups by Keycloak's admin API: those of a user whose token has none, asked for by a client that may do no more than that.

use std::{fs, path::Path};

use sandbox::{Credential, Kubectl, wait::until};
use serde_json::{Value, json};

use crate::{
    keycloak::{Keycloak, USER},
    plugin::claims,
    story::CLUSTER,
};

const CLIENT: &str = "kubernetes-bare";
const ASKER: &str = "kube-oidc-gateway";

/// What the group of this path may do.
const BINDING: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: keycloak-viewers-by-path}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:node}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: "/system:viewers"}]
"#;

/// The user's groups as the cluster sees them, or what kubectl says instead.
fn groups(kubectl: &Kubectl) -> Result<Vec<String>, String> {
    let who = kubectl.run(["auth", "whoami", "-o", "json"]).unwrap();
    if !who.success() {
        return Err(who.stderr);
    }
    let who: Value = serde_json::from_str(&who.stdout).unwrap();
    let groups = who["status"]["userInfo"]["groups"].as_array().cloned().unwrap_or_default();
    Ok(groups.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

fn replace(path: &Path, text: &str) {
    let fresh = path.with_extension("new");
    fs::write(&fresh, text).unwrap();
    fs::rename(fresh, path).unwrap();
}

#[test]
fn groups_come_from_keycloak_s_admin_api() {
    let keycloak = Keycloak::start("http://localhost:8000");
    keycloak.add(&json!({
        "clientId": CLIENT,
        "publicClient": true,
        "directAccessGrantsEnabled": true,
        "protocolMappers": [{
            "name": "cluster", "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper",
            "config": {"included.client.audience": CLIENT, "access.token.claim": "true"},
        }],
    }));
    keycloak.add(&json!({
        "clientId": ASKER,
        "secret": "the-first-secret",
        "serviceAccountsEnabled": true,
        "standardFlowEnabled": false,
        // All that it may do is in the roles of its service account.
        "fullScopeAllowed": true,
        "attributes": {"access.token.lifespan": "12"},
    }));
    let token = keycloak.log_in(CLIENT);
    assert!(claims(&token).get("groups").is_none(), "{}", claims(&token));

    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("client-secret");
    fs::write(&secret, "the-first-secret").unwrap();
    let issuer = keycloak.issuer();
    let authentication = json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [{
            "issuer": {"url": issuer, "audiences": [CLIENT], "certificateAuthority": keycloak.ca()},
            "claimMappings": {
                "username": {"claim": "preferred_username", "prefix": "keycloak:"},
                "groups": {"claim": "groups", "prefix": ""},
            },
        }],
    });
    let mut configuration = sandbox::realm::configuration();
    configuration["groupSources"] = json!([{
        "name": "keycloak", "issuer": issuer, "provider": "keycloak",
        // What is before `/admin`.
        "url": issuer.split_once("/realms/").unwrap().0,
        "credential": {"oauth2": {
            "tokenEndpoint": format!("{issuer}/protocol/openid-connect/token"),
            "clientID": ASKER,
            "clientSecretFile": secret,
        }},
        "onFailure": {"lastAnswerSeconds": 0},
    }]);
    configuration["groupCache"] = json!({"lifetimeSeconds": 5});
    CLUSTER.apply(BINDING).unwrap();
    let gateway = CLUSTER.gateway(authentication).configuration(configuration).start().unwrap();
    let kubectl = gateway.kubectl(Credential::Token(token)).unwrap();
    let has = |wanted: bool| {
        let found = groups(&kubectl)?;
        let has = found.iter().any(|group| group == "/system:viewers");
        if has == wanted { Ok(()) } else { Err(format!("{found:?}")) }
    };

    // A client without a role, and one that may look for users and groups, are told nothing. Nobody comes in without groups.
    until("a client without roles may not see groups", || {
        let said = groups(&kubectl).expect_err("nobody comes in without groups");
        let log = [gateway.log(), &gateway.access_log()]
            .map(|log| fs::read_to_string(log).unwrap_or_default())
            .concat();
        if log.contains("HTTP 403") { Ok(()) } else { Err(said) }
    });
    for role in ["query-users", "query-groups"] {
        keycloak.grant(ASKER, role);
        assert_eq!(keycloak.status_for(ASKER, "the-first-secret"), 403, "{role}");
    }
    keycloak.grant(ASKER, "view-users");
    assert_eq!(keycloak.status_for(ASKER, "the-first-secret"), 200);
    // Roles are in a token: Envoy's next one has it.
    until("the groups of the admin API", || has(true));
    until("the group's role counts", || {
        kubectl.run(["get", "nodes"]).unwrap().success().then_some(())
    });
    until("the access log says whence the groups are", || {
        let log = fs::read_to_string(gateway.access_log()).unwrap();
        (log.contains(USER) && log.contains("groups-source=keycloak")).then_some(())
    });

    // What the administrator changes counts within the lifetime.
    keycloak.leave("system:viewers");
    until("the group is gone", || has(false));
    keycloak.join("system:viewers");
    until("the group is back", || has(true));

    // The secret is another, and so is, later, what is in its file.
    keycloak.set_secret(ASKER, "the-next-secret");
    until("the last token by the old secret is over", || match has(true) {
        Err(said) if said.contains("groups of this user") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    replace(&secret, "the-next-secret");
    until("the new secret counts", || has(true));
    let log = fs::read_to_string(gateway.log()).unwrap();
    let dump = gateway.envoy_admin().get("/config_dump?include_eds").unwrap().body;
    for text in [&log, &dump] {
        assert!(!text.contains("the-first-secret") && !text.contains("the-next-secret"));
    }
}
