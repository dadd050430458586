//! Groups for a while, by two persons in front of two browsers: each logs in, one asks, the other agrees, and kubectl has the group.
//!
//! With `UPDATE_PICTURES` set, the pictures of docs/elevation.md are made anew. They are to be looked at.

use std::{env, fs, path::Path};

use gateway_tests::built;
use oidc_provider::{ClientConfig, Config, Preset, Provider, User};
use sandbox::{
    Authority, Cluster, Credential, Kubeconfig, Kubectl, Port, Program, realm, wait::until,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{browser::Browser, story::CLUSTER};

const HOST: &str = "localhost";
const CLIENT: &str = "portal";
const SECRET: &str = "the-secret-of-the-portals-client";
const GROUP: &str = "on-call-admins";
const REASON: &str = "INC-1234: the ingress does not start";
/// Whoever made an element of it would have run its script.
const SCRIPT: &str = "INC-7 <img src=x onerror=\"document.title='run'\"> \u{202e}yenoh";

/// The program, with a portal that has grants.
struct Stage {
    // Ends first.
    program: Program,
    provider: Provider,
    authority: Authority,
    port: Port,
    folder: TempDir,
}

impl Stage {
    fn set() -> Self {
        let (port, probe) = (Port::reserve().unwrap(), Port::reserve().unwrap());
        let url = format!("https://{HOST}:{}", port.number());
        let mut client = ClientConfig::confidential(CLIENT, SECRET);
        client.redirect_uris = vec![format!("{url}/oauth2/callback")];
        client.require_pkce = true;
        client.default_scopes = ["profile", "email", "groups"].map(str::to_owned).to_vec();
        let user =
            |name: &str, group: &str| User::new(name, format!("{name}-password")).groups([group]);
        let issuer = Preset::KubernetesSandbox.issuer().client(client);
        let issuer = issuer.user(user("jane", "developers")).user(user("kim", "team-leads"));
        let provider = Provider::start(Config::of(issuer)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let mut authentication = realm::authentication_of(&provider);
        let issuer = &mut authentication["jwt"][0]["issuer"];
        issuer["audiences"] = json!([CLIENT, realm::CLIENT]);
        issuer["audienceMatchPolicy"] = "MatchAny".into();
        let mut gateway = realm::configuration();
        gateway["elevation"] = json!({"rules": [{
            "name": "on-call", "groups": [GROUP], "toGroups": ["developers"], "approvers": ["team-leads"],
            "reasonPattern": "INC-[0-9]+.*",
        }]});
        let portal = json!({
            "apiVersion": "gateway.kube-oidc.dev/v1alpha1", "kind": "PortalConfiguration",
            "host": HOST, "url": url, "loginClientId": CLIENT,
            "secretFile": [write("secret", "the-secret-of-the-portal-with-elevation")],
            "loginClientSecretFile": write("client-secret", SECRET),
            "loginCookieSecretFile": write("cookie-secret", "thirty-two-bytes-and-some-more-for-cookies"),
        });
        let authority = Authority::new("serving").unwrap();
        let pair = authority.server(&[]).unwrap();
        let (namespace, account) = Cluster::GATEWAY;
        let token = CLUSTER.service_account_token(namespace, account, 3600).unwrap();
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "a",
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            "clusters": [{"name": "a", "cluster": {
                "server": CLUSTER.url(), "certificate-authority": write("ca.crt", CLUSTER.ca()),
            }}],
            "users": [{"name": "a", "user": {"tokenFile": write("token", &token)}}],
        });
        let mut arguments = vec![
            "run".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            "--readiness-probe-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", port.number()),
            format!("--readiness-probe-port={}", probe.number()),
            format!("--tls-cert-file={}", write("tls.crt", &pair.certificate)),
            format!("--tls-private-key-file={}", write("tls.key", &pair.key)),
            format!("--kubeconfig={}", write("kubeconfig", &kubeconfig.to_string())),
            format!("--envoy-binary={}", CLUSTER.assets().envoy.display()),
            format!("--run-dir={}", folder.path().join("run").display()),
            format!(
                "--authentication-config={}",
                write("authentication", &authentication.to_string())
            ),
            format!("--gateway-config={}", write("gateway", &gateway.to_string())),
            format!("--portal-config={}", write("portal", &portal.to_string())),
            format!("--grants={}", folder.path().join("grants.json").display()),
            "--concurrency=2".to_owned(),
            "--shutdown-delay-duration=1s".to_owned(),
            "--drain-duration=3s".to_owned(),
        ];
        arguments.extend(built::filter_flags());
        let log = folder.path().join("log");
        let mut program = Program::start(&built::program(), arguments, &[], &log).unwrap();
        let probe_url = format!("http://{}", probe.address());
        let client = sandbox::Client::tls(&probe_url, authority.pem(), None).unwrap();
        let ready = program.wait_until(|| {
            let answer = client.get("/readyz").map_err(|error| error.to_string())?;
            if answer.status == 200 { Ok(()) } else { Err(answer.body) }
        });
        ready.unwrap_or_else(|error| panic!("{error}\n{}", fs::read_to_string(&log).unwrap()));
        Self { program, provider, authority, port, folder }
    }

    fn url(&self) -> String {
        format!("https://{HOST}:{}", self.port.number())
    }

    /// A browser of somebody who has logged in by the issuer's page, and is at the page of elevation.
    fn browser(&self, user: &str) -> Browser {
        let browser = Browser::start();
        browser.open(&format!("{}/elevation", self.url()));
        browser.fill("[name=username]", user);
        browser.fill("[name=password]", &format!("{user}-password"));
        browser.click("[name=login]");
        until("back at the portal", || browser.address().starts_with(&self.url()).then_some(()));
        // The login leads to the page that was asked for, or to the portal's first one.
        self.look(&browser);
        browser
    }

    fn look(&self, browser: &Browser) {
        browser.open(&format!("{}/elevation", self.url()));
        browser.until_it_reads("Logged in as");
        until("it has loaded", || browser.has("main[aria-busy=false]").then_some(()));
    }

    fn kubectl(&self, user: &str) -> Kubectl {
        let token = self.provider.issuer().token(user, realm::CLIENT).mint();
        CLUSTER
            .kubectl_with(&Kubeconfig {
                server: format!("https://{}", self.port.address()),
                ca: self.authority.pem().to_owned(),
                credential: Credential::Token(token),
            })
            .unwrap()
    }

    /// Waits until the API server sees, or sees no more, the lent group.
    fn becomes(kubectl: &Kubectl, lent: bool) {
        until("the API server sees it", || {
            let said = kubectl.must(["auth", "whoami", "-o", "json"], "").unwrap();
            let said: Value = serde_json::from_str(&said).unwrap();
            let groups = said["status"]["userInfo"]["groups"].as_array().unwrap();
            let has = groups.iter().any(|group| group == GROUP);
            if has == lent { Ok(()) } else { Err(said.to_string()) }
        });
    }

    fn log(&self) -> String {
        fs::read_to_string(self.program.log()).unwrap()
    }
}

fn ask(browser: &Browser, reason: &str) {
    browser.fill("#reason", reason);
    browser.click("#send");
}

/// Pictures of the page in both schemes.
fn pictures(browser: &Browser) {
    for (scheme, suffix) in [("light", ""), ("dark", "-dark")] {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        browser.command("Emulation.setEmulatedMedia", &features);
        let picture = browser.picture(880);
        assert!(picture.len() < 150_000, "{suffix}: {}", picture.len());
        if env::var_os("UPDATE_PICTURES").is_some() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/portal");
            fs::write(folder.join(format!("elevation{suffix}.png")), picture).unwrap();
        }
    }
    browser.command("Emulation.setEmulatedMedia", &json!({"features": []}));
}

#[test]
fn two_persons_lend_a_group_by_the_page() {
    let stage = Stage::set();
    let (jane, kim) = (stage.browser("jane"), stage.browser("kim"));
    let kubectl = stage.kubectl("jane");
    Stage::becomes(&kubectl, false);

    // What the rule asks for is said, and nothing was sent away.
    ask(&jane, "because");
    jane.until_it_reads("You may not do this");
    jane.run("document.getElementById('reason').value = ''");
    ask(&jane, REASON);
    jane.until_it_reads("Asked. Tell somebody who may agree.");
    jane.until_it_reads("somebody has to agree");
    // Her own request is nothing that she could agree to.
    assert!(!jane.reads().contains("Others wait for you"), "{}", jane.reads());

    stage.look(&kim);
    kim.until_it_reads("Others wait for you");
    kim.until_it_reads(REASON);
    pictures(&kim);
    kim.click("#requests button.main");
    kim.until_it_reads("Agreed.");
    kim.until_it_reads("What others have at the moment");
    Stage::becomes(&kubectl, true);
    stage.look(&jane);
    jane.until_it_reads("agreed to by");

    // One click ends it.
    jane.click("#own button");
    jane.until_it_reads("Ended.");
    Stage::becomes(&kubectl, false);

    // A reason is text, whatever it looks like.
    ask(&jane, SCRIPT);
    jane.until_it_reads("Asked.");
    stage.look(&kim);
    kim.until_it_reads("<img src=x onerror=");
    for browser in [&jane, &kim] {
        assert!(!browser.has("main img"), "the reason became an element");
        assert_ne!(browser.run("return document.title"), json!("run"));
    }
    kim.click("#requests button:not(.main)");
    kim.until_it_reads("Refused.");

    // The login of a browser is of no use to another site, and each step is in the log.
    let foreign = kim.run(
        "return fetch('elevation/grants', {method: 'POST', body: '{}'}).then((answer) => answer.status)",
    );
    assert_eq!(foreign, 403, "a form's content type");
    // The browser's console has that refusal, and the one of the rule, and nothing that a policy forbade.
    for browser in [&jane, &kim] {
        let console = browser.console();
        assert!(console.iter().all(|line| line.contains("status of 403")), "{console:#?}");
    }
    for text in ["elevation.asked", "elevation.approved", "elevation.ended", "elevation.denied"] {
        assert!(stage.log().contains(text), "no {text} in\n{}", stage.log());
    }
    let written = fs::read_to_string(stage.folder.path().join("grants.json")).unwrap();
    assert!(written.contains("\"state\": \"Denied\"") && written.contains("#kim"), "{written}");
}
