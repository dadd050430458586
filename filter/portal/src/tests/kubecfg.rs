//! Kubeconfigs.

// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

#[test]
fn a_kubeconfig_holds_the_templates_clusters() {
    let (status, text) = answer(&kubehook(), &request("GET", "/kubecfg?lifetime=24h", &[USER]), "");
    assert_eq!(status, 200);
    let token = text.split("\"token\":\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(verified(&kubehook(), token, NOW).unwrap().username, "cooluser");
    let want = format!(
        "apiVersion: v1\nclusters:\n- cluster: {{\"insecure-skip-tls-verify\":true,\"server\":\"https://a\"}}\n  name: \"a: b\"\n\
         contexts:\n- context: {{\"cluster\":\"a: b\",\"user\":\"kubehook\"}}\n  name: \"a: b\"\ncurrent-context: \"a: b\"\n\
         kind: Config\npreferences: {{}}\nusers:\n- name: kubehook\n  user: {{\"token\":\"{token}\"}}\n"
    );
    assert_eq!(text, want);
    for (path, status, want) in [
        ("/kubecfg", 400, "cannot parse query parameter lifetime: time: invalid duration \"\""),
        ("/kubecfg?lifetime=x", 400, "time: invalid duration \"x\""),
        ("/kubecfg?lifetime=200h", 500, "greater than maximum"),
    ] {
        let (found, text) = answer(&kubehook(), &request("GET", path, &[USER]), "");
        assert!(found == status && text.contains(want), "{path}: {found} {text}");
    }
    let request_of_a_file = request("GET", "/kubecfg?lifetime=24h", &[USER]);
    let Step::Respond(file) = ask(&kubehook(), &request_of_a_file, b"", None) else { panic!() };
    for (name, want) in [
        ("content-type", "application/x-yaml; charset=utf-8"),
        ("content-disposition", "attachment; filename=\"config\""),
    ] {
        let found = file.headers.iter().find(|(known, _)| *known == name);
        assert_eq!(found.map(|(_, value)| value.as_str()), Some(want), "{name}");
    }
    let none = portal(Settings { template: None, ..settings() }, &[hs256("s", "s")]);
    let found = answer(&none, &request("GET", "/kubecfg?lifetime=1h", &[USER]), "");
    assert_eq!(found, (501, String::new()));
}

#[test]
fn a_kubeconfig_for_the_plugin_holds_no_token() {
    let plugin = settings::Plugin {
        issuer: "https://issuer.example".to_owned(),
        client_id: "kubernetes".to_owned(),
        scopes: ["openid", "email", "groups"].map(str::to_owned).to_vec(),
        certificate_authority_data: Some("Q0E=".to_owned()),
    };
    let with = portal(Settings { plugin: Some(plugin), ..settings() }, &[hs256("s", "s")]);
    let exec = request("GET", "/kubecfg?form=exec", &[USER]);
    let (status, file) = answer(&with, &exec, "");
    assert_eq!(status, 200);
    let (_, user) = file.rsplit_once("user: ").unwrap();
    let user: Value = serde_json::from_str(user).unwrap();
    let args = [
        "get-token",
        "--oidc-issuer-url=https://issuer.example",
        "--oidc-client-id=kubernetes",
        "--oidc-extra-scope=email",
        "--oidc-extra-scope=groups",
        "--certificate-authority-data=Q0E=",
    ];
    assert_eq!((&user["exec"]["args"], &user["token"]), (&json!(args), &Value::Null));
    // Neither for nobody, nor where no plugin is offered.
    assert_eq!(answer(&with, &request("GET", "/kubecfg?form=exec", &[]), "").0, 400);
    assert_eq!(answer(&kubehook(), &exec, "").0, 501);
}

/// Without a current context kubectl asks localhost, whatever clusters a file has.
#[test]
fn of_one_cluster_the_context_is_the_current_one() {
    for (names, current, want) in [
        (&["a"][..], "", "a"),
        (&["a"], "a", "a"),
        (&["a", "b"], "", ""), // nobody can say which is meant
        (&["a", "b"], "b", "b"),
    ] {
        let clusters =
            names.iter().map(|name| ((*name).to_owned(), json!({"server": "https://a"})));
        let template =
            Template { clusters: clusters.collect(), current_context: current.to_owned() };
        let portal =
            portal(Settings { template: Some(template), ..settings() }, &[hs256("s", "s")]);
        let (_, file) = answer(&portal, &request("GET", "/kubecfg?lifetime=1h", &[USER]), "");
        assert!(file.contains(&format!("current-context: {want:?}\n")), "{names:?}: {file}");
    }
}
