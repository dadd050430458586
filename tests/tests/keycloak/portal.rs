//! The portal's page in a real browser: a login by Envoy's oauth2 filter at an issuer, a token, kubeconfigs, a logout.
//!
//! With `UPDATE_PICTURES` set, the pictures in docs/portal are made anew. They are to be looked at.

use std::{env, fs, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use gateway_tests::{
    person::Person,
    portal::{Portal, Site},
};
use oidc_provider::{ClientConfig, Config, Preset, Provider};
use sandbox::{
    Authority, Credential, Gateway, Kubectl, Output, Port, realm,
    wait::{LIMIT, until},
};
use serde_json::{Value, json};

use crate::{
    browser::Browser,
    keycloak::{Keycloak, PASSWORD, REALM, USER},
    story::{self, CLUSTER},
};

const CLIENT: &str = "portal";
const SECRET: &str = "the-secret-of-the-portals-client";
const COOKIE_SECRET: &str = "thirty-two-bytes-and-some-more-for-cookies";
const AUDIENCE: &str = "github.com/planetlabs/kubehook";
const HIDDEN: &str = "\u{2022}\u{2022}\u{2022}";
const TAB: &str = "\u{E004}";
const SPACE: &str = "\u{E00D}";
const ENTER: &str = "\u{E007}";
const LEFT: &str = "\u{E012}";

/// A portal, a gateway that takes its tokens, and a browser.
struct Stage {
    portal: Portal,
    gateway: Gateway,
    browser: Browser,
    // The folder that `kubectl` runs in.
    kubectl: Kubectl,
}

impl Stage {
    /// `authentication` is the issuer's, for the portal's client and the plugin's.
    fn set(site: Site, mut authentication: Value) -> Self {
        let issuer = &mut authentication["jwt"][0]["issuer"];
        issuer["audiences"] = json!([CLIENT, REALM]);
        issuer["audienceMatchPolicy"] = "MatchAny".into();
        let own = json!({
            "issuer": {"url": site.url(), "audiences": [AUDIENCE], "certificateAuthority": site.ca()},
            "claimMappings": {
                "username": {"claim": "sub", "prefix": ""},
                "groups": {"claim": "groups", "prefix": ""},
            },
        });
        let mut both = authentication.clone();
        both["jwt"].as_array_mut().unwrap().push(own);
        let gateway = CLUSTER.gateway(both).configuration(realm::configuration()).start().unwrap();
        let template = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "sandbox", "cluster": {
                "server": gateway.url(),
                "certificate-authority-data": STANDARD.encode(gateway.ca()),
            }}],
            "current-context": "sandbox",
        });
        let key = Authority::new("key").unwrap().server(&[]).unwrap().key;
        let file = |flag: &str, name: &str, text: &str| format!("{flag}={}", site.file(name, text));
        let flags = [
            file("--authentication-config", "authentication", &authentication.to_string()),
            file("--gateway-config", "gateway", &realm::configuration().to_string()),
            file("--kubecfg-template", "template", &template.to_string()),
            file("--signing-key-file", "key.pem", &key),
            file("--login-client-secret-file", "client-secret", SECRET),
            file("--login-cookie-secret-file", "cookie-secret", COOKIE_SECRET),
            format!("--login-client-id={CLIENT}"),
            format!("--plugin-client-id={REALM}"),
            format!("--issuer={}", site.url()),
            format!("--url={}", site.url()),
            "--outlive-login".to_owned(),
        ];
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        let portal = site.start(&CLUSTER.assets().envoy, &flags);
        let kubectl = CLUSTER.kubectl(Credential::None).unwrap();
        Self { portal, gateway, browser: Browser::start(), kubectl }
    }

    /// The browser's way to the page.
    fn log_in(&self, sign_in: impl FnOnce(&Browser)) {
        self.browser.open(&self.portal.url());
        sign_in(&self.browser);
        until("the page", || self.browser.reads().contains("Get access").then_some(()));
    }

    fn focus(&self) -> String {
        let script = "const e = document.activeElement; return e.id || e.name || e.tagName";
        self.browser.run(script).as_str().unwrap_or_default().to_owned()
    }

    /// Goes on by the keyboard until this element has the focus.
    fn tab_to(&self, id: &str) {
        for _ in 0..12 {
            self.browser.press(TAB);
            if self.focus() == id {
                return;
            }
        }
        panic!("the keyboard does not lead to {id}");
    }

    fn shown(&self) -> String {
        let value = self.browser.run("return document.getElementById('token').value");
        value.as_str().unwrap_or_default().to_owned()
    }

    /// Clicks, and takes away what is downloaded.
    fn download(&self, selector: &str) -> String {
        self.browser.click(selector);
        let path = self.browser.downloads().join("config");
        let text = until("a download", || {
            fs::read_to_string(&path).ok().filter(|text| text.contains("users:"))
        });
        fs::remove_file(&path).unwrap();
        text
    }

    /// kubectl with that file and nothing else.
    fn get_namespaces(&self, kubeconfig: &str) -> Output {
        let file = self.portal.site().file("downloaded", kubeconfig);
        self.kubectl.run(["--kubeconfig", &file, "get", "namespaces"]).unwrap()
    }

    /// kubectl with a file without a token: the plugin, listening there, sends its person's browser to a login.
    fn with_the_plugin(&self, config: &str, listen: &str, sign_in: impl FnOnce(&str)) -> Output {
        assert!(!config.contains("token:") && config.contains("kubectl-oidc"), "{config}");
        let person = Person::new(&CLUSTER.assets().kubectl);
        let file = self.portal.site().file("with-plugin", config);
        let kubectl = person.takes(CLUSTER.kubectl(Credential::None).unwrap());
        let kubectl = kubectl.environment("KUBECTL_OIDC_LISTEN_ADDRESS", listen);
        std::thread::scope(|scope| {
            let words = ["--kubeconfig", &file, "get", "namespaces"];
            let running = scope.spawn(move || kubectl.run(words).unwrap());
            sign_in(&person.visit(1, LIMIT));
            running.join().unwrap()
        })
    }

    /// Whether all of the field with the hidden token is seen on narrow screens.
    fn token_fits(&self) -> bool {
        let fits = [320, 390].map(|width| {
            let narrow =
                json!({"width": width, "height": 700, "deviceScaleFactor": 1, "mobile": false});
            self.browser.command("Emulation.setDeviceMetricsOverride", &narrow);
            let script = "const e = document.getElementById('token'); return e.scrollHeight <= e.clientHeight";
            self.browser.run(script) == true
        });
        self.browser.command("Emulation.clearDeviceMetricsOverride", &json!({}));
        fits == [true; 2]
    }

    /// Pictures of the page in both schemes and on a telephone.
    fn pictures(&self, name: &str) {
        pictures(&self.browser, name);
    }
}

/// Pictures of a page in both schemes and on a telephone.
pub fn pictures(browser: &Browser, name: &str) {
    for (scheme, width, suffix) in
        [("light", 880, ""), ("dark", 880, "-dark"), ("light", 390, "-small")]
    {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        browser.command("Emulation.setEmulatedMedia", &features);
        let picture = browser.picture(width);
        assert!(picture.len() < 150_000, "{name}{suffix}: {}", picture.len());
        if env::var_os("UPDATE_PICTURES").is_some() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/portal");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(format!("{name}{suffix}.png")), picture).unwrap();
        }
    }
    browser.command("Emulation.setEmulatedMedia", &json!({"features": []}));
}

/// By the keyboard alone: a lifetime, a token, and what can be done with it.
fn a_token_by_the_keyboard(stage: &Stage) -> String {
    let browser = &stage.browser;
    stage.tab_to("lifetime");
    browser.press(LEFT);
    stage.tab_to("make");
    browser.press(ENTER);
    until("a token", || (stage.focus() == "have").then_some(()));
    assert!(stage.shown().starts_with(HIDDEN), "{}", stage.shown());
    stage.tab_to("show");
    browser.press(SPACE);
    let token = stage.shown();
    assert_eq!(token.split('.').count(), 3, "{token}");
    browser.press(SPACE);
    assert!(stage.shown().starts_with(HIDDEN));
    token
}

fn nothing_was_forbidden(browser: &Browser) {
    let console = browser.console();
    assert!(console.is_empty(), "{console:#?}");
}

/// Everything that a person does with the page, wherever the login was.
fn story_of_the_page(stage: &Stage, user: &str, sign_in: &dyn Fn(&Browser)) {
    let browser = &stage.browser;
    stage.log_in(sign_in);
    let read = browser.reads();
    let parts = user.rsplit_once('#').unwrap();
    assert!(
        read.contains(parts.0) && read.contains(parts.1) && read.contains("system:viewers"),
        "{read}"
    );
    // The query of the issuer's answer is not kept in the address.
    assert_eq!(browser.address(), format!("{}/", stage.portal.url()));

    let cookies = browser.command("Network.getAllCookies", &json!({}));
    let cookies: Vec<_> = cookies["cookies"].as_array().unwrap().clone();
    let own = cookies.iter().filter(|it| it["name"].as_str().unwrap().starts_with("__Host-portal"));
    for cookie in own.inspect(|it| assert!(!it["value"].as_str().unwrap().starts_with("ey"))) {
        let attributes = (&cookie["secure"], &cookie["httpOnly"], &cookie["sameSite"]);
        assert_eq!(attributes, (&json!(true), &json!(true), &json!("Lax")), "{cookie}");
    }
    assert!(cookies.iter().any(|cookie| cookie["name"] == "__Host-portal-id"), "{cookies:?}");

    let token = a_token_by_the_keyboard(stage);
    let origin = json!({"origin": stage.portal.url(), "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]});
    browser.command("Browser.grantPermissions", &origin);
    browser.click("#copy");
    until("it is copied", || browser.reads().contains("Copied").then_some(()));
    assert_eq!(browser.run("return navigator.clipboard.readText()"), json!(token));
    let stored = browser.run(
        "return JSON.stringify([localStorage, sessionStorage, location.href, document.cookie])",
    );
    assert!(!stored.as_str().unwrap().contains(&token), "{stored}");

    // Its own gateway takes it, as anybody with the published keys would.
    let kubectl = stage.gateway.kubectl(Credential::Token(token.clone())).unwrap();
    until("the gateway has the portal's keys", || {
        let output = kubectl.run(["get", "namespaces"]).unwrap();
        output.stdout.contains("kube-system").then_some(())
    });

    // Leaving is forgetting, also on the way back.
    browser.open("about:blank");
    browser.back();
    until("the page", || browser.reads().contains("Get access").then_some(()));
    assert_eq!((stage.shown(), browser.has("#result[hidden]")), (String::new(), true));

    let config = stage.download("#config");
    let output = stage.get_namespaces(&config);
    assert!(output.stdout.contains("kube-system"), "{output:?}");
    nothing_was_forbidden(browser);

    // After its end a token is nobody's.
    let made = browser.run(
        "return fetch('generate', {method: 'POST', headers: {'content-type': 'application/json'}, \
         body: '{\"lifetime\": \"2s\"}'}).then((answer) => answer.json())",
    );
    let kubectl = stage
        .gateway
        .kubectl(Credential::Token(made["token"].as_str().unwrap().to_owned()))
        .unwrap();
    until("the token ends", || {
        let output = kubectl.run(["get", "namespaces"]).unwrap();
        output.stderr.contains("You must be logged in").then_some(())
    });
}

/// The session ends here, and the page says where the other one does.
fn a_logout(stage: &Stage) {
    let browser = &stage.browser;
    browser.click("#logout");
    until("the logout", || browser.reads().contains("You are logged out").then_some(()));
    let status = browser.run("return fetch('whoami').then((answer) => answer.status)");
    assert_eq!(status, 401);
    assert!(browser.reads().contains("Log out there, too"), "{}", browser.reads());
}

#[test]
fn the_page_after_a_login_at_the_sandboxes_provider() {
    let site = Site::reserve();
    let mut issuer = Preset::KubernetesSandbox.issuer();
    let mut client = ClientConfig::confidential(CLIENT, SECRET);
    client.redirect_uris = vec![format!("{}/oauth2/callback", site.url())];
    client.require_pkce = true;
    client.default_scopes = ["profile", "email", "groups"].map(str::to_owned).to_vec();
    issuer = issuer.client(client);
    let provider = Provider::start(Config::of(issuer)).unwrap();
    let stage = Stage::set(site, realm::authentication_of(&provider));
    let sign_in = |browser: &Browser| {
        browser.fill("[name=username]", "k8s-user1");
        browser.fill("[name=password]", "k8s-user1-password");
        browser.click("[name=login]");
    };
    story_of_the_page(&stage, "#k8s-user1", &sign_in);
    let browser = &stage.browser;
    browser.open(&stage.portal.url());
    until("the page", || browser.reads().contains("Get access").then_some(()));
    stage.pictures("page");
    browser.click("#make");
    until("a token", || browser.reads().contains("Your token").then_some(()));
    // What was chosen is what is said, though some of it has passed.
    assert!(browser.reads().contains("It expires in 8 hours"), "{}", browser.reads());
    stage.pictures("token");
    assert!(stage.token_fits(), "the hidden token is cut");

    // The kubeconfig without a token logs in by itself.
    let config = stage.download("#exec");
    let output = stage.with_the_plugin(&config, "127.0.0.1:0", |visit| {
        provider.browser().sign_in(visit, "k8s-user1", "k8s-user1-password").unwrap();
    });
    assert!(output.stdout.contains("kube-system"), "{output:?}");

    // What goes wrong is said in words.
    browser.command("Network.clearBrowserCookies", &json!({}));
    browser.click("#make");
    until("an explanation", || browser.reads().contains("Log in again").then_some(()));
    stage.pictures("error");
    stage.log_in(sign_in);
    a_logout(&stage);
    stage.pictures("logout");
}

#[test]
fn the_page_after_a_login_at_keycloak() {
    let site = Site::reserve();
    let redirect = Port::reserve().unwrap();
    let keycloak = Keycloak::start(&format!("http://localhost:{}", redirect.number()));
    keycloak.add_client(CLIENT, SECRET, &format!("{}/oauth2/callback", site.url()));
    let stage = Stage::set(site, story::authentication(&keycloak));
    let user = format!("{}#{USER}", keycloak.issuer());
    story_of_the_page(&stage, &user, &|browser: &Browser| {
        browser.fill("#username", USER);
        browser.fill("#password", PASSWORD);
        browser.click("#kc-login");
    });
    // The kubeconfig without a token; Keycloak still knows this browser.
    let config = stage.download("#exec");
    let browser = &stage.browser;
    let output = stage.with_the_plugin(&config, &redirect.address().to_string(), |visit| {
        browser.open(visit);
    });
    assert!(output.stdout.contains("kube-system"), "{output:?}");
    browser.open(&stage.portal.url());
    until("the page", || browser.reads().contains("Get access").then_some(()));
    a_logout(&stage);
}
