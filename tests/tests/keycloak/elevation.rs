//! Groups for a while, by two persons in front of two browsers: each logs in, one asks, the other agrees, and kubectl has the group.
//!
//! With `UPDATE_PICTURES` set, the pictures of docs/elevation.md are made anew. They are to be looked at.

use std::{env, fs, path::Path};

use oidc_provider::{ClientConfig, Config, Preset, Provider, User};
use sandbox::{Kubectl, realm, wait::until};
use serde_json::{Value, json};

use crate::{
    beside::{Beside, Documents, Place},
    browser::Browser,
};

const CLIENT: &str = "portal";
const SECRET: &str = "the-secret-of-the-portals-client";
const GRANTS: &str = "{\"apiVersion\": \"gateway.kube-oidc.dev/v1alpha1\", \"kind\": \"Grants\"}";
const GROUP: &str = "on-call-admins";
const REASON: &str = "INC-1234: the ingress does not start";
/// Whoever made an element of it would have run its script.
const SCRIPT: &str = "INC-7 <img src=x onerror=\"document.title='run'\"> \u{202e}yenoh";

/// The program, with a portal that has grants.
struct Stage {
    // Ends first.
    gateway: Beside,
    provider: Provider,
}

impl Stage {
    fn set() -> Self {
        let place = Place::reserve();
        let mut client = ClientConfig::confidential(CLIENT, SECRET);
        client.redirect_uris = vec![format!("{}/oauth2/callback", place.portal())];
        client.require_pkce = true;
        client.default_scopes = ["profile", "email", "groups"].map(str::to_owned).to_vec();
        let user =
            |name: &str, group: &str| User::new(name, format!("{name}-password")).groups([group]);
        let issuer = Preset::KubernetesSandbox.issuer().client(client);
        let issuer = issuer.user(user("jane", "developers")).user(user("kim", "team-leads"));
        let provider = Provider::start(Config::of(issuer)).unwrap();
        let gateway = Beside::start(place, |write| {
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
                "loginClientId": CLIENT,
                "secretFile": [write("secret", "the-secret-of-the-portal-with-elevation")],
                "loginClientSecretFile": write("client-secret", SECRET),
                "loginCookieSecretFile": write("cookie-secret", "thirty-two-bytes-and-some-more-for-cookies"),
            });
            let grants = write("grants.json", GRANTS);
            let flags = vec![format!("--grants={grants}")];
            Documents { authentication, gateway, portal, flags }
        });
        Self { gateway, provider }
    }

    fn url(&self) -> String {
        self.gateway.portal()
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
        self.gateway.kubectl(&self.provider.issuer().token(user, realm::CLIENT).mint())
    }

    /// Waits until the API server sees, or sees no more, the lent group.
    fn becomes(kubectl: &Kubectl, lent: bool) {
        until("the API server sees it", || {
            // The first ones may be refused, while the API server has not read the gateway's own role yet.
            let said = kubectl.must(["auth", "whoami", "-o", "json"], "");
            let said = said.map_err(|error| error.to_string())?;
            let said: Value = serde_json::from_str(&said).unwrap();
            let groups = said["status"]["userInfo"]["groups"].as_array().unwrap();
            let has = groups.iter().any(|group| group == GROUP);
            if has == lent { Ok(()) } else { Err(said.to_string()) }
        });
    }
}

fn ask(browser: &Browser, reason: &str) {
    browser.fill("#reason", reason);
    browser.click("#send");
}

/// The lines of a list that name issuers, one for each grant.
fn lines(browser: &Browser, list: &str) -> Vec<String> {
    let script = format!(
        "return [...document.querySelectorAll('#{list} li p')].map((it) => it.textContent).filter((it) => it.startsWith('who logs in at '))"
    );
    serde_json::from_value(browser.run(&script)).unwrap()
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
    // Who agrees sees at which issuer it is: the name may be another's elsewhere.
    let issuer = format!("who logs in at {}", stage.provider.issuer().url());
    assert_eq!(lines(&kim, "requests"), [issuer.as_str()]);
    pictures(&kim);
    kim.click("#requests button.main");
    kim.until_it_reads("Agreed.");
    kim.until_it_reads("What others have at the moment");
    assert_eq!(lines(&kim, "open"), [issuer.as_str()]);
    Stage::becomes(&kubectl, true);
    stage.look(&jane);
    jane.until_it_reads("agreed to by");
    assert_eq!(lines(&jane, "own"), [issuer.as_str()]);

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
        assert!(stage.gateway.log().contains(text), "no {text} in\n{}", stage.gateway.log());
    }
    let written = stage.gateway.read("grants.json");
    assert!(written.contains("\"state\": \"Denied\"") && written.contains("#kim"), "{written}");
}
