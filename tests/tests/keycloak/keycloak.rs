//! Keycloak as a process of the test's own, with the realm of the compose project kubernetes-sandbox, made and changed by
//! its administrative API.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use sandbox::{Authority, Port, Process, Spec};
use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::{
    Agent,
    http::{Method, Request},
    tls::{Certificate, RootCerts, TlsConfig},
};

use sandbox::wait::LIMIT;

/// The realm's name, and its only client's.
pub const REALM: &str = "kubernetes-sandbox";

/// The user that the realm begins with, a member of `system:viewers`.
pub const USER: &str = "k8s-user1";

/// That user's password.
pub const PASSWORD: &str = "k8s-user1-password";

const ADMIN: &str = "admin";
const ADMIN_PASSWORD: &str = "admin-of-this-test";

/// A running Keycloak. Its data is in memory.
pub struct Keycloak {
    agent: Agent,
    base: String,
    ca: String,
    // Ends before its folder is removed.
    _process: Process,
    _port: Port,
    _folder: TempDir,
}

impl Keycloak {
    /// Starts it and makes the realm, whose client may come back to `redirect_uri` only.
    pub fn start(redirect_uri: &str) -> Self {
        Self::start_trusting(redirect_uri, None)
    }

    /// The same, and it believes servers that this CA (PEM) has signed, where it calls others.
    pub fn start_trusting(redirect_uri: &str, servers: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = Port::reserve().unwrap();
        let base = format!("https://{}/auth", port.address());
        let authority = Authority::new("Keycloak of a test").unwrap();
        let files = authority.server(&[]).unwrap().write(folder.path(), "tls").unwrap();
        let home = home(folder.path());
        let mut arguments = vec![
            "start".to_owned(),
            "--optimized".to_owned(),
            "--cache=local".to_owned(),
            format!("--hostname={base}"),
            "--http-host=127.0.0.1".to_owned(),
            format!("--https-port={}", port.number()),
            format!("--https-certificate-file={}", files.certificate.display()),
            format!("--https-certificate-key-file={}", files.key.display()),
        ];
        if let Some(pem) = servers {
            let path = folder.path().join("servers.pem");
            fs::write(&path, pem).unwrap();
            arguments.push(format!("--truststore-paths={}", path.display()));
        }
        let environment = [
            ("KC_BOOTSTRAP_ADMIN_USERNAME", ADMIN),
            ("KC_BOOTSTRAP_ADMIN_PASSWORD", ADMIN_PASSWORD),
            // It runs for a minute: what it saves by compiling well it does not earn.
            ("JAVA_OPTS_APPEND", "-XX:TieredStopAtLevel=1 -XX:-UseG1GC -XX:+UseSerialGC"),
        ];
        let mut process = Process::start(&Spec {
            name: "Keycloak",
            program: home.join("bin/kc.sh"),
            arguments,
            environment: environment.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            folder: Some(home),
            log: folder.path().join("keycloak.log"),
        })
        .unwrap();
        let root = Certificate::from_pem(authority.pem().as_bytes()).unwrap();
        let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&[root])).build();
        let config = Agent::config_builder().tls_config(tls).proxy(None);
        let agent: Agent =
            config.http_status_as_error(false).timeout_global(Some(LIMIT)).build().into();
        process
            .wait_until(LIMIT, || {
                let discovery = format!("{base}/realms/master/.well-known/openid-configuration");
                let answer = agent.get(&discovery).call().map_err(|error| error.to_string())?;
                let status = answer.status();
                if status == 200 { Ok(()) } else { Err(status.to_string()) }
            })
            .unwrap();
        let keycloak = Self {
            agent,
            base,
            ca: authority.pem().to_owned(),
            _process: process,
            _port: port,
            _folder: folder,
        };
        keycloak.admin(Method::POST, "/admin/realms", Some(&realm(redirect_uri)));
        keycloak
    }

    /// The issuer's URL.
    pub fn issuer(&self) -> String {
        format!("{}/realms/{REALM}", self.base)
    }

    /// The bundle that signs its certificate, PEM.
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// Registers a client with a secret, which must use PKCE with S256 and may come back to `redirect_uri` only.
    pub fn add_client(&self, id: &str, secret: &str, redirect_uri: &str) {
        let client = json!({
            "clientId": id,
            "secret": secret,
            "standardFlowEnabled": true,
            "redirectUris": [redirect_uri],
            "attributes": {"pkce.code.challenge.method": "S256"},
            "protocolMappers": [groups_mapper()],
        });
        self.admin(Method::POST, &format!("/admin/realms/{REALM}/clients"), Some(&client));
    }

    /// Registers a client.
    pub fn add(&self, client: &Value) {
        self.admin(Method::POST, &format!("/admin/realms/{REALM}/clients"), Some(client));
    }

    /// Gives a client's service account a role of `realm-management`.
    pub fn grant(&self, client: &str, role: &str) {
        let account = format!("{}/service-account-user", self.client(client));
        let account = self.admin(Method::GET, &account, None);
        let roles = self.client("realm-management");
        let role = self.admin(Method::GET, &format!("{roles}/roles/{role}"), None);
        let path = format!(
            "/admin/realms/{REALM}/users/{}/role-mappings/clients/{}",
            account["id"].as_str().expect("its id"),
            roles.rsplit_once('/').expect("a path").1,
        );
        self.admin(Method::POST, &path, Some(&json!([role])));
    }

    /// Gives a client another secret.
    pub fn set_secret(&self, client: &str, secret: &str) {
        let change = json!({"clientId": client, "secret": secret});
        self.admin(Method::PUT, &self.client(client), Some(&change));
    }

    /// What the admin API answers a client that asks for the user's groups: the status code.
    pub fn status_for(&self, client: &str, secret: &str) -> u16 {
        let url = format!("{}/protocol/openid-connect/token", self.issuer());
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", client),
            ("client_secret", secret),
        ];
        let answer: Value =
            self.agent.post(&url).send_form(form).unwrap().body_mut().read_json().unwrap();
        let token = answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}"));
        let groups = format!("{}{}/groups", self.base, self.user());
        let asked = self.agent.get(&groups).header("authorization", format!("Bearer {token}"));
        asked.call().unwrap().status().as_u16()
    }

    /// How long tokens live from now on, in seconds.
    pub fn set_token_lifetime(&self, seconds: u32) {
        let change = json!({"accessTokenLifespan": seconds});
        self.admin(Method::PUT, &format!("/admin/realms/{REALM}"), Some(&change));
    }

    /// Puts the user into a group.
    pub fn join(&self, group: &str) {
        let path = self.membership(group);
        self.admin(Method::PUT, &path, None);
    }

    /// Takes the user out of a group.
    pub fn leave(&self, group: &str) {
        let path = self.membership(group);
        self.admin(Method::DELETE, &path, None);
    }

    /// How many sessions the user has.
    pub fn sessions(&self) -> usize {
        let path = format!("{}/sessions", self.user());
        self.admin(Method::GET, &path, None).as_array().map_or(0, Vec::len)
    }

    /// Ends all sessions of the user.
    pub fn end_sessions(&self) {
        self.admin(Method::POST, &format!("{}/logout", self.user()), None);
    }

    /// Ends one session, by what tokens call `sid`.
    pub fn end_session(&self, session: &str) {
        self.admin(Method::DELETE, &format!("/admin/realms/{REALM}/sessions/{session}"), None);
    }

    /// An access token of the user for a client that may take a password.
    pub fn log_in(&self, client: &str) -> String {
        self.log_in_for(client, "access_token")
    }

    /// A token of this kind, `access_token` or `id_token`, of a new session of the user.
    pub fn log_in_for(&self, client: &str, kind: &str) -> String {
        let url = format!("{}/protocol/openid-connect/token", self.issuer());
        let form = [
            ("grant_type", "password"),
            ("client_id", client),
            ("scope", "openid"),
            ("username", USER),
            ("password", PASSWORD),
        ];
        let answer: Value =
            self.agent.post(&url).send_form(form).unwrap().body_mut().read_json().unwrap();
        answer[kind].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    fn user(&self) -> String {
        let path = format!("/admin/realms/{REALM}/users?exact=true&username={USER}");
        let found = self.admin(Method::GET, &path, None);
        format!("/admin/realms/{REALM}/users/{}", found[0]["id"].as_str().expect("the user"))
    }

    fn client(&self, id: &str) -> String {
        let path = format!("/admin/realms/{REALM}/clients");
        let found = self.admin(Method::GET, &format!("{path}?clientId={id}"), None);
        format!("{path}/{}", found[0]["id"].as_str().expect("the client"))
    }

    fn membership(&self, group: &str) -> String {
        let groups = self.admin(Method::GET, &format!("/admin/realms/{REALM}/groups"), None);
        let groups = groups.as_array().expect("groups");
        let found = groups.iter().find(|found| found["name"] == group).expect("the group");
        format!("{}/groups/{}", self.user(), found["id"].as_str().expect("its id"))
    }

    /// One request of the administrative API; what it answers, null for nothing.
    #[track_caller]
    fn admin(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        let token = self.admin_token();
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(body.map(Value::to_string).unwrap_or_default())
            .unwrap();
        let mut answer = self.agent.run(request).unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        assert!(answer.status().is_success(), "{path}: {} {text}", answer.status());
        serde_json::from_str(&text).unwrap_or_default()
    }

    fn admin_token(&self) -> String {
        let url = format!("{}/realms/master/protocol/openid-connect/token", self.base);
        let form = [
            ("grant_type", "password"),
            ("client_id", "admin-cli"),
            ("username", ADMIN),
            ("password", ADMIN_PASSWORD),
        ];
        let answer: Value =
            self.agent.post(&url).send_form(form).unwrap().body_mut().read_json().unwrap();
        answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }
}

/// Groups without their paths.
fn groups_mapper() -> Value {
    json!({
        "name": "groups",
        "protocol": "openid-connect",
        "protocolMapper": "oidc-group-membership-mapper",
        "config": {
            "claim.name": "groups",
            "full.path": "false",
            "id.token.claim": "true",
        },
    })
}

/// A public client that must use PKCE with S256, a groups mapper without paths, and the user.
fn realm(redirect_uri: &str) -> Value {
    json!({
        "realm": REALM,
        "enabled": true,
        "accessTokenLifespan": 300,
        "clients": [{
            "clientId": REALM,
            "publicClient": true,
            "standardFlowEnabled": true,
            "redirectUris": [redirect_uri],
            "attributes": {"pkce.code.challenge.method": "S256"},
            "protocolMappers": [groups_mapper()],
        }],
        "groups": [{"name": "system:viewers"}, {"name": "system:masters"}],
        "users": [{
            "username": USER,
            "enabled": true,
            // Without a name and an address Keycloak asks for them at the first login.
            "firstName": "Kubernetes",
            "lastName": "User",
            "email": "k8s-user1@example.com",
            "emailVerified": true,
            "credentials": [{"type": "password", "value": PASSWORD}],
            "groups": ["/system:viewers"],
        }],
    })
}

/// A home folder for one run: programs from where they were installed, data here.
fn home(folder: &Path) -> PathBuf {
    let installed = env::var_os("KEYCLOAK_HOME").map(PathBuf::from);
    let installed = installed
        .expect("KEYCLOAK_HOME is set: `make test-keycloak` installs Keycloak and sets it");
    let home = folder.join("home");
    fs::create_dir_all(home.join("bin")).unwrap();
    for name in ["conf", "lib", "providers"] {
        symlink(installed.join(name), home.join(name)).unwrap();
    }
    // The script takes the folder above its own, links resolved, for its home.
    fs::copy(installed.join("bin/kc.sh"), home.join("bin/kc.sh")).unwrap();
    home
}
