//! The browser's login by Envoy's oauth2 filter, at the level of HTTP. The page itself is tested in a real browser.

use std::fs;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use gateway_tests::portal::{Portal, Site};
use oidc_provider::Provider;
use sandbox::realm;
use serde_json::Value;

use super::{CLIENT, CLIENT_SECRET, COOKIE_SECRET, authentication, curl, provider, start};
use crate::harness::until;

struct Stage {
    portal: Portal,
    provider: Provider,
}

impl Stage {
    fn set() -> Self {
        let site = Site::reserve();
        let provider = provider(&site);
        let file = |flag: &str, name: &str, text: &str| format!("{flag}={}", site.file(name, text));
        let gateway = realm::configuration().to_string();
        let flags = [
            file("--authentication-config", "authn", &authentication(&provider).to_string()),
            file("--gateway-config", "gateway", &gateway),
            file("--secret-file", "secret", "kubehooks-secret-which-has-thirty-two-bytes-and-more"),
            file("--login-client-secret-file", "client-secret", CLIENT_SECRET),
            file("--login-cookie-secret-file", "cookie-secret", COOKIE_SECRET),
            format!("--login-client-id={CLIENT}"),
            format!("--url={}", site.url()),
        ];
        Self { portal: start(site, &flags), provider }
    }

    /// curl with the cookies of `jar`; the status and the body.
    fn browse(&self, jar: &str, words: &[&str], path: &str) -> (u16, String) {
        let jar = self.portal.site().path(jar).display().to_string();
        let url = format!("{}{path}", self.portal.url());
        let mut all = vec!["-b", &jar, "-c", &jar, "-w", "\n%{http_code}"];
        // A refusal may come before the body was sent. curl 7.88 then fails over HTTP/2 ("Stream error") and shows no status.
        if words.contains(&"-d") {
            all.push("--http1.1");
        }
        all.extend(words);
        all.push(&url);
        let text = curl(&self.portal, &all);
        let (body, status) = text.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), body.to_owned())
    }

    /// A whole login: to the issuer's page, through its form, and back.
    fn log_in(&self, jar: &str, user: &str) -> (u16, String) {
        let path = self.portal.site().path(jar).display().to_string();
        let ca = self.portal.site().path("both.crt");
        fs::write(&ca, format!("{}{}", self.portal.site().ca(), self.provider.ca_pem())).unwrap();
        let ca = ca.display().to_string();
        let common = ["--cacert", &ca, "-L", "-b", &path, "-c", &path, "-o", "/dev/null"];
        let end = ["-w", "%{url_effective}"];
        let form = curl(&self.portal, &[&common[..], &end, &[&self.portal.url()]].concat());
        assert!(form.starts_with(self.provider.issuer().url()), "{form}");
        let (user, password) = (format!("username={user}"), format!("password={user}-password"));
        let fields = ["--data-urlencode", &user, "--data-urlencode", &password, "-d", "login=1"];
        let text = curl(&self.portal, &[&common[..], &end, &fields, &[&form]].concat());
        assert_eq!(
            text,
            format!("{}/", self.portal.url()),
            "back at the page, nothing in its address"
        );
        self.browse(jar, &[], "/whoami")
    }

    fn admin(&self, path: &str) -> String {
        let socket = self.portal.site().path("run/admin.sock").display().to_string();
        curl(&self.portal, &["--unix-socket", &socket, &format!("http://envoy{path}")])
    }
}

const JSON: [&str; 2] = ["-H", "Content-Type: application/json"];

#[test]
fn a_login_and_what_comes_of_it() {
    let stage = Stage::set();
    let portal = &stage.portal;

    // Whoever has no session is sent to the issuer, with PKCE, if it is the page that is wanted.
    let head = curl(portal, &["-D", "-", "-o", "/dev/null", &portal.url()]);
    let location = head.lines().find_map(|line| line.strip_prefix("location: ")).unwrap();
    assert!(head.starts_with("HTTP/2 302") && location.starts_with(stage.provider.issuer().url()));
    for part in ["code_challenge_method=S256", "code_challenge=", "state=", "response_type=code"] {
        assert!(location.contains(part), "{location}");
    }
    let cookies: Vec<_> = head.lines().filter(|line| line.starts_with("set-cookie:")).collect();
    assert!(cookies.len() >= 2, "{head}");
    for cookie in cookies {
        let lower = cookie.to_ascii_lowercase();
        for attribute in ["__host-portal-", "; secure", "; httponly", "samesite=lax", "path=/"] {
            assert!(lower.replace(';', "; ").contains(attribute), "{attribute}: {cookie}");
        }
    }
    for (words, path) in [
        (&[][..], "/whoami"),
        (&[], "/kubecfg?lifetime=1h"),
        (&[JSON[0], JSON[1], "-d", r#"{"lifetime":"1h"}"#], "/generate"),
    ] {
        let (status, body) = stage.browse("nobody", words, path);
        assert_eq!(status, 401, "{path}: {body}");
        assert!(serde_json::from_str::<Value>(&body).unwrap()["error"].is_string(), "{body}");
    }
    // API servers and probes have no browser.
    assert_eq!(stage.browse("nobody", &[], "/healthz").0, 200);
    assert_eq!(stage.browse("nobody", &JSON, "/authenticate").0, 405);

    let (status, body) = stage.log_in("jar", "k8s-user1");
    let me: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, 200);
    let user = format!("{}#k8s-user1", stage.provider.issuer().url());
    assert_eq!((&me["user"], &me["login"]), (&user.into(), &true.into()));
    assert_eq!(me["groups"], serde_json::json!(["system:viewers"]));

    // A token ends with the login at the latest.
    let post = [JSON[0], JSON[1], "-d", r#"{"lifetime":"24h"}"#];
    let (status, body) = stage.browse("jar", &post, "/generate");
    assert_eq!(status, 200, "{body}");
    let made: Value = serde_json::from_str(&body).unwrap();
    let token = made["token"].as_str().unwrap();
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    let lifetime = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
    assert!(lifetime <= 300, "{claims}");

    // The session's cookie does not work from another site.
    for origin in ["Origin: https://evil.example", "Sec-Fetch-Site: cross-site"] {
        let words = [&post[..], &["-H", origin]].concat();
        assert_eq!(stage.browse("jar", &words, "/generate").0, 403, "{origin}");
    }
    // Nor does an ID token that Envoy did not put there; and what it is does not get into a log.
    let id_token = stage.provider.issuer().token("k8s-user1", CLIENT).mint();
    let forged = format!("__Host-portal-id={id_token}");
    assert_eq!(stage.browse("nobody", &["-b", &forged], "/whoami").0, 401);
    // A program's own ID token goes by the browser's login.
    let bearer = format!("Authorization: Bearer {id_token}");
    assert_eq!(stage.browse("nobody", &["-H", &bearer], "/whoami").0, 200);
    // Reserved names are nobody's, whatever the issuer says.
    let node = stage.provider.issuer().token("node", CLIENT).mint();
    let words = ["-H", &format!("Authorization: Bearer {node}")];
    assert_eq!(stage.browse("nobody", &words, "/whoami").0, 401);
    assert_eq!(stage.log_in("node", "node").0, 401);

    // An answer that this browser did not ask for: in words, with a way on.
    let (status, body) = stage.browse("nobody", &[], "/oauth2/callback?code=stolen&state=x");
    assert!(status == 401 && body.contains("The login did not work"), "{status} {body}");

    // What a browser makes of this is tested with one.
    let (status, head) = stage.browse("jar", &["-D", "-"], "/oauth2/logout");
    assert_eq!(status, 302);
    for name in ["hmac", "id"] {
        let ended =
            format!("set-cookie: __Host-portal-{name}=deleted; path=/; expires=Thu, 01 Jan 1970");
        assert!(head.contains(&ended), "{head}");
    }

    nothing_secret_is_written(
        &stage,
        &[
            token,
            &id_token,
            CLIENT_SECRET,
            COOKIE_SECRET,
            "kubehooks-secret-which-has-thirty-two-bytes-and-more",
        ],
    );
}

/// Everything that Envoy shows, and every file that the program and Envoy wrote.
fn nothing_secret_is_written(stage: &Stage, secrets: &[&str]) {
    let site = stage.portal.site();
    let mut shown = String::new();
    for path in ["/config_dump?include_eds", "/stats", "/clusters", "/listeners", "/server_info"] {
        shown += &stage.admin(path);
    }
    assert!(shown.contains("authorization_endpoint"), "the dump has the login's configuration");
    // Envoy writes the lines of requests that have ended a moment later.
    let access = until("the access log", || {
        fs::read_to_string(site.path("access.log")).ok().filter(|text| text.contains("callback"))
    });
    assert!(!access.contains("code=") && !access.contains("stolen"), "{access}");
    shown += &access;
    shown += &stage.portal.log();
    for entry in fs::read_dir(site.path("run")).unwrap() {
        shown += &fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
    }
    for secret in secrets {
        assert!(!shown.contains(secret), "{secret}\n{shown}");
        let encoded = URL_SAFE_NO_PAD.encode(secret);
        assert!(!shown.contains(&encoded), "{secret}, encoded");
    }
}
