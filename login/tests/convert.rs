//! Stanzas of other programs become ours: shown first, written then, and the logins work.

mod common;

use std::{collections::BTreeMap, fs, path::Path};

use common::{World, any_port};
use oidc_provider::{ClientConfig, User};
use serde_json::{Value, json};

/// A kubeconfig of many kinds: shown first, written then, and the logins work.
#[test]
fn convert_makes_other_programs_logins_ours() {
    let world = World::with(|issuer| {
        issuer.clients.push(ClientConfig::confidential("secretive", "s3cret"));
        issuer.users.push(User::new("bob", "secret"));
    });
    let kubeconfig = world.path("kubeconfig");
    let (issuer, ca) = (world.issuer.url(), world.path("ca.pem"));
    let text = format!(
        "# mine\nkind: Config\ncurrent-context: login\nclusters:\n- name: c\n  cluster: {{server: 'https://s.example'}}\ncontexts:\n- name: login\n  context: {{cluster: c, user: login}}\n- name: provider\n  context: {{cluster: c, user: provider}}\nusers:\n- name: login # kubelogin's\n  user:\n    exec:\n      apiVersion: client.authentication.k8s.io/v1beta1\n      command: kubectl\n      args:\n      - oidc-login\n      - get-token\n      - --oidc-issuer-url={issuer}\n      - --oidc-client-id=secretive\n      - --oidc-client-secret=s3cret\n      - --username=alice\n      - --certificate-authority={ca}\n- name: provider\n  user:\n    auth-provider:\n      name: oidc\n      config:\n        client-id: kube\n        idp-issuer-url: {issuer}\n        idp-certificate-authority: ca.pem\n        refresh-token: r3fresh\n- name: cloud\n  user:\n    exec: {{apiVersion: client.authentication.k8s.io/v1, command: aws, args: [eks]}}\n# the end\n",
        ca = ca.display()
    );
    fs::write(&kubeconfig, &text).unwrap();
    let flag = format!("--kubeconfig={}", kubeconfig.display());
    let run = |words: &[&str]| world.plugin().args(words).arg(&flag).run();
    run(&["whoami"]).fails_with("logs in with kubelogin; kubectl oidc convert");

    let shown = run(&["convert"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert_eq!(fs::read_to_string(&kubeconfig).unwrap(), text, "nothing is written yet");
    for line in
        ["-      - oidc-login", "+      - get-token", "-    auth-provider:", "+        value: ***"]
    {
        assert!(
            shown.stdout.lines().any(|found| found.starts_with(line)),
            "{line}\n{}",
            shown.stdout
        );
    }
    for secret in ["s3cret", "r3fresh"] {
        assert!(!format!("{shown:?}").contains(secret), "{shown:?}");
    }
    assert!(shown.stderr.contains("--write"), "{shown:?}");

    let written = run(&["convert", "--write"]);
    assert_eq!(written.code, Some(0), "{written:?}");
    let text = fs::read_to_string(&kubeconfig).unwrap();
    assert!(text.starts_with("# mine\n") && text.contains("# the end"), "{text}");
    let found = users(&kubeconfig);
    assert_eq!(found["cloud"]["exec"]["command"], "aws");
    assert_eq!(found["login"]["exec"]["apiVersion"], "client.authentication.k8s.io/v1beta1");
    assert!(!found["login"]["exec"]["args"].to_string().contains("s3cret"), "{text}");
    assert_eq!(run(&["convert"]).stderr, "There is nothing to convert.\n");

    // And they log in.
    let login = world.plugin().args(["login", &flag]).env("KUBECTL_OIDC_PASSWORD", "secret").run();
    assert_eq!(login.code, Some(0), "{login:?}");
    let plugin = world.plugin().args(["login", &flag, "--context=provider"]).args(any_port());
    let outcome = world.log_in(plugin);
    assert!(outcome.stdout.starts_with("Logged in as alice until "), "{outcome:?}");
    assert_eq!(run(&["whoami", "--offline"]).code, Some(0));
}

#[test]
fn convert_says_what_it_cannot_do() {
    let world = World::new();
    let kubeconfig = world.path("kubeconfig");
    fs::write(&kubeconfig, "users:\n- name: a\n  user: {exec: {command: kubelogin, args: [get-token, --login, azurecli, --server-id=s, --client-id=c, -t, t]}}\n- name: b\n  user: {exec: {command: kubelogin, args: [get-token, '--oidc-issuer-url=https://i.example', --oidc-client-id=c]}}\n").unwrap();
    let flag = format!("--kubeconfig={}", kubeconfig.display());
    let outcome = world.plugin().args(["convert", "--write", &flag]).run();
    assert!(
        outcome.stderr.contains("a cannot be converted: it logs in with \"azurecli\""),
        "{outcome:?}"
    );
    assert_eq!(outcome.code, Some(1));
    assert_eq!(users(&kubeconfig)["a"]["exec"]["command"], "kubelogin");
    assert_ne!(users(&kubeconfig)["b"]["exec"]["command"], "kubelogin", "the others are");
    let outcome = world.plugin().args(["convert", &flag, "--user=none"]).run();
    outcome.fails_with("no user named \"none\"");
}

/// `--password` stayed among the arguments, though the diff showed `***`.
#[test]
fn convert_moves_every_secret_out_of_the_arguments() {
    let world = World::new();
    let kubeconfig = world.path("kubeconfig");
    let stanza = |name: &str, secrets: &str| {
        format!(
            "- name: {name}\n  user: {{exec: {{command: kubectl, args: [oidc-login, get-token, '--oidc-issuer-url=https://i.example', --oidc-client-id=c, --grant-type=password, --username=ada, {secrets}]}}}}\n"
        )
    };
    let text = format!(
        "users:\n{}{}{}",
        stanza(
            "one",
            "--password=Tr0ub4dor, --token-store-passphrase=Pa55phrase, --oidc-client-secret=C1ient"
        ),
        stanza("two", "--password, Tr0ub4dor, --oidc-request-header, X-Key=Head3r"),
        stanza("three", "--oidc-request-header=X-Key=Head3r, --oidc-request-header=X-Id=a=b"),
    );
    fs::write(&kubeconfig, text).unwrap();
    let flag = format!("--kubeconfig={}", kubeconfig.display());
    let outcome = world.plugin().args(["convert", "--write", &flag]).run();
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let found = users(&kubeconfig);
    let env = |user: &str| found[user]["exec"]["env"].clone();
    for (user, want) in [
        (
            "one",
            json!([
                {"name": "KUBECTL_OIDC_PASSWORD", "value": "Tr0ub4dor"},
                {"name": "KUBECTL_OIDC_TOKEN_STORE_PASSPHRASE", "value": "Pa55phrase"},
                {"name": "KUBECTL_OIDC_CLIENT_SECRET", "value": "C1ient"},
            ]),
        ),
        (
            "two",
            json!([
                {"name": "KUBECTL_OIDC_PASSWORD", "value": "Tr0ub4dor"},
                {"name": "KUBECTL_OIDC_REQUEST_HEADER", "value": "X-Key=Head3r"},
            ]),
        ),
        (
            "three",
            json!([
                {"name": "KUBECTL_OIDC_REQUEST_HEADER", "value": "\"X-Key=Head3r\",\"X-Id=a=b\""},
            ]),
        ),
    ] {
        assert_eq!(env(user), want, "{user}");
    }
    for user in found.values() {
        let arguments = user["exec"]["args"].to_string();
        for secret in ["Tr0ub4dor", "Pa55phrase", "C1ient", "Head3r"] {
            assert!(!arguments.contains(secret), "{arguments}");
        }
        assert!(arguments.contains("--username=ada"), "{arguments}");
    }
    for secret in ["Tr0ub4dor", "Pa55phrase", "C1ient", "Head3r"] {
        assert!(!format!("{outcome:?}").contains(secret), "{secret}: {outcome:?}");
    }
}

/// A short secret made the diff unreadable, and one that is a common word was told by what was missing elsewhere.
#[test]
fn the_diff_masks_secrets_by_their_place() {
    let world = World::new();
    let kubeconfig = world.path("kubeconfig");
    let login = |name: &str, secret: &str| {
        format!(
            "- name: {name}\n  user:\n    exec:\n      apiVersion: client.authentication.k8s.io/v1\n      command: kubectl\n      args:\n      - oidc-login\n      - get-token\n      - --oidc-issuer-url=https://i.example/realms/kubernetes\n      - --oidc-client-id=kubernetes\n      {secret}\n"
        )
    };
    let text = [
        "apiVersion: v1\nkind: Config\nusers:\n- name: before\n  user:\n    token: T0ken\n",
        &login("word", "- --oidc-client-secret=kubernetes"),
        &login("short", "- --password\n      - s # mine"),
        &login("block", "- --oidc-client-secret\n      - |-\n        M0re\n        L1nes"),
        &login("quoted", "- \"--password=Qu0ted\""),
        "- name: provider\n  user:\n    auth-provider:\n      name: oidc\n      config: {client-id: kubernetes, client-secret: kubernetes, idp-issuer-url: 'https://i.example/y', id-token: x, refresh-token: y}\n",
        "- name: after\n  user: {password: 12345, username: ada}\n",
    ]
    .concat();
    fs::write(&kubeconfig, &text).unwrap();
    let flag = format!("--kubeconfig={}", kubeconfig.display());
    let outcome = world.plugin().args(["convert", &flag]).run();
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let diff = &outcome.stdout;
    for line in [
        "-      - --oidc-client-secret=***",
        "-      - *** # mine",
        "-      - --password=***",
        "+        value: ***",
        "       apiVersion: client.authentication.k8s.io/v1",
        "       - --oidc-client-id=kubernetes",
        "       - --oidc-issuer-url=https://i.example/realms/kubernetes",
        "-      config: {client-id: kubernetes, client-secret: ***, idp-issuer-url: 'https://i.example/y', id-token: ***, refresh-token: ***}",
        "   user: {password: ***, username: ada}",
    ] {
        let shown = diff.lines().any(|found| found.trim_end() == line);
        assert!(shown, "{line}\n{diff}");
    }
    for secret in ["T0ken", "M0re", "L1nes", "Qu0ted", "12345"] {
        assert!(!diff.contains(secret), "{secret}\n{diff}");
    }
}

/// A typo in $KUBECONFIG was "nothing to convert", with success.
#[test]
fn convert_names_a_kubeconfig_that_is_not_there() {
    let world = World::new();
    let outcome = world.plugin().arg("convert").env("KUBECONFIG", "/nonexistent/typo").run();
    outcome.fails_with("/nonexistent/typo");
}

/// kubelogin logs in without a command, for an auth-provider section. Whoever is used to that is told what to do now.
#[test]
fn the_standalone_mode_answers_with_what_to_do() {
    let world = World::new();
    let kubeconfig = world.path("kubeconfig");
    let text = "current-context: x\ncontexts: [{name: x, context: {cluster: c, user: old}}]\nclusters: [{name: c, cluster: {server: 'https://s.example'}}]\nusers:\n- name: old\n  user:\n    auth-provider:\n      name: oidc\n      config: {client-id: kube, idp-issuer-url: 'https://i.example', id-token: s3cret}\n";
    fs::write(&kubeconfig, text).unwrap();
    let path = kubeconfig.display().to_string();
    let flag = format!("--kubeconfig={path}");
    for words in [&[&*flag][..], &[&flag, "--context=x"], &[&flag, "--user=old"], &["login", &flag]]
    {
        let outcome = world.plugin().args(words).run();
        outcome.fails_with("user \"old\" has an auth-provider section");
        outcome.fails_with("kubectl oidc convert");
    }
    let outcome = world.plugin().env("KUBECONFIG", &path).run();
    assert!(outcome.stdout.contains("kubectl oidc setup"), "{outcome:?}");
    assert!(outcome.stderr.contains("kubectl oidc convert"), "{outcome:?}");
}

fn users(path: &Path) -> BTreeMap<String, Value> {
    let document: Value = serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let users = document["users"].as_array().unwrap();
    users.iter().map(|u| (u["name"].as_str().unwrap().to_owned(), u["user"].clone())).collect()
}
