//! The program's command line.

#[path = "../../config/tests/support/mod.rs"]
mod support;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

const AUTHENTICATION: &str = r#"
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer: {url: https://issuer.example, audiences: [kubernetes]}
  claimMappings: {username: {claim: sub, prefix: ""}}
"#;

/// Runs `render` in `root` with an `AuthenticationConfiguration` and more flags.
fn render(root: &Path, authentication: &str, flags: &[&str]) -> Output {
    let inputs = support::inputs(root);
    support::make_files(&inputs);
    fs::write(root.join("authentication.yaml"), authentication).unwrap();
    rendered(root, flags)
}

/// The same with the files as they are.
fn rendered(root: &Path, flags: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kube-oidc-gateway"))
        .current_dir(root)
        .env_remove("KUBERNETES_SERVICE_HOST")
        .env_remove("ENVOY_BIN")
        .args(["render", "--out", "out", "--authentication-config", "authentication.yaml"])
        .args(["--filter", "filter.wasm", "--tls-cert-file", "serving/tls.crt"])
        .args(["--tls-private-key-file", "serving/tls.key"])
        .args(["--apiserver-ca-file", "serviceaccount/ca.crt"])
        .args(["--apiserver-token-file", "serviceaccount/token"])
        .args(["--system-ca-file", "ssl/ca-certificates.crt"])
        .args(flags)
        .output()
        .unwrap()
}

const APISERVER: [&str; 2] = ["--apiserver", "https://10.96.0.1"];

#[test]
fn render_writes_what_envoy_takes() {
    let root = tempfile::tempdir().unwrap();
    let envoy = support::envoy();
    let flags = [&APISERVER[..], &["--check", "--envoy", envoy.to_str().unwrap()]].concat();
    let output = render(root.path(), AUTHENTICATION, &flags);
    assert!(output.status.success(), "{output:?}");
    let out = root.path().join("out");
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        format!(
            "envoy --config-path {}/envoy.yaml --disable-hot-restart --file-flush-interval-msec 500\n",
            out.display()
        )
    );
    assert_eq!(String::from_utf8(output.stderr).unwrap().lines().count(), 14);
    let filter = fs::read_to_string(out.join("filter-gateway.yaml")).unwrap();
    assert!(
        filter.contains(r#"\"issuerClusters\":{\"https://issuer.example\":\"issuers_system\"}"#)
    );

    let again = render(root.path(), AUTHENTICATION, &APISERVER);
    assert!(again.stderr.is_empty(), "nothing has changed");
}

#[test]
fn modes_come_from_the_gateway_configuration() {
    let root = tempfile::tempdir().unwrap();
    let header = "apiVersion: gateway.kube-oidc.dev/v1alpha1\nkind: GatewayConfiguration\n";
    for (settings, own, review, strip) in [
        ("", false, true, false),
        ("clientImpersonation: strip\n", false, false, true),
        ("clientImpersonation: reject\n", false, false, false),
        ("clientImpersonation: authorize\n", false, true, false),
        ("tokenReview: {enabled: true}\n", true, true, false),
        ("impersonation: disabled\n", true, true, false),
    ] {
        fs::write(root.path().join("gateway.yaml"), format!("{header}{settings}")).unwrap();
        let flags = [&APISERVER[..], &["--gateway-config", "gateway.yaml"]].concat();
        let output = render(root.path(), AUTHENTICATION, &flags);
        assert!(output.status.success(), "{settings}: {output:?}");
        let read = |name| fs::read_to_string(root.path().join("out").join(name)).unwrap();
        let clusters = read("clusters.yaml");
        assert_eq!(clusters.contains("apiserver_own_h2"), own, "{settings}");
        assert_eq!(clusters.contains("\"apiserver_review\""), review, "{settings}");
        assert_eq!(read("filter-strip.yaml").contains("prefix: impersonate,"), strip, "{settings}");
    }
}

/// A log collector reads lines; a person reads them, too.
#[test]
fn the_log_of_run_and_portal_is_text_or_json() {
    let root = tempfile::tempdir().unwrap();
    let run = ["run", "--oidc-client-id=a", "--oidc-issuer-url=http://a", "--namespace=a"];
    let portal = ["portal", "--filter=/none", "--secret-file=/none"];
    for (words, level, text) in [
        (&run[..], "WARN", "--namespace has no effect: a gateway has no namespace"),
        (&run, "ERROR", "no API server: outside of a pod"),
        (&portal, "ERROR", "cannot read \"/none\""),
    ] {
        let lines = |format: &[&str]| {
            let output = Command::new(env!("CARGO_BIN_EXE_kube-oidc-gateway"))
                .env_remove("KUBERNETES_SERVICE_HOST")
                .env_remove("KUBECONFIG")
                .env("ENVOY_BIN", "/none")
                .env("GATEWAY_FILTER", "/none")
                .args(words)
                .args(format)
                .arg(format!(
                    "{}={}",
                    if words == portal { "--run-dir" } else { "--cert-dir" },
                    root.path().display()
                ))
                .output()
                .unwrap();
            assert!(!output.status.success(), "{output:?}");
            String::from_utf8(output.stderr).unwrap()
        };
        let plain = lines(&[]);
        let line =
            plain.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("{plain}"));
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.ends_with('Z') && time.contains('T'), "{line}");
        assert!(rest.trim_start().starts_with(level), "{line}");

        let json = lines(&["--log-format=json"]);
        let found = json.lines().find_map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["message"].as_str()?.contains(text).then_some(line)
        });
        let line = found.unwrap_or_else(|| panic!("{json}"));
        assert_eq!(line["level"], level);
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
    }
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    let two_words = AUTHENTICATION.replace("audiences", "audience");
    let not_yaml = AUTHENTICATION.replace("sub", "su b: c");
    let twice = format!("{AUTHENTICATION}kind: AuthenticationConfiguration\n");
    for (authentication, flags, want) in [
        (AUTHENTICATION, &[][..], "--apiserver is needed outside of a pod of the cluster"),
        (
            AUTHENTICATION,
            &["--apiserver", "https://a", "--authentication-config", "none.yaml"],
            "cannot be used multiple times",
        ),
        (&two_words, &APISERVER, "authentication.yaml: strict decoding error: unknown field"),
        (&not_yaml, &APISERVER, "line 6"),
        (&twice, &APISERVER, "line 7"),
        (
            AUTHENTICATION,
            &["--apiserver", "https://a", "--gateway-config", "none.yaml"],
            "cannot read \"none.yaml\": No such file",
        ),
        (
            AUTHENTICATION,
            &[
                "--apiserver",
                "https://a",
                "--gateway-config",
                "none.yaml",
                "--kubernetes-rules=1.36",
            ],
            "--gateway-config and --kubernetes-rules exclude each other",
        ),
        (
            AUTHENTICATION,
            &["--apiserver", "https://a", "--undecided-timeout", "5s"],
            "--undecided-timeout must be longer than limits.waitSeconds of the GatewayConfiguration (10)",
        ),
        (
            AUTHENTICATION,
            &["--apiserver", "https://a", "--max-request-headers-kib", "64"],
            "--max-request-headers-kib must be more than limits.tokenBytes",
        ),
        (
            AUTHENTICATION,
            &["--apiserver", "https://a", "--check", "--envoy", "none"],
            "cannot run \"none\": No such file",
        ),
    ] {
        let root = tempfile::tempdir().unwrap();
        let output = render(root.path(), authentication, flags);
        assert!(!output.status.success(), "{want}");
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.contains(want), "{want}: {errors}");
        if output.status.code() == Some(1) {
            assert_eq!(errors.lines().count(), 1, "{errors}");
        }
        assert!(!root.path().join("out/envoy.yaml").exists(), "{want}: files were written");
    }
}

/// Runs the program in `root`.
fn run(root: &Path, words: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_kube-oidc-gateway");
    Command::new(program).current_dir(root).args(words).output().unwrap()
}

#[test]
fn rbac_prints_the_role_and_its_binding() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("authentication.yaml"), AUTHENTICATION).unwrap();
    let flags = ["rbac", "--authentication-config", "authentication.yaml"];
    let output = run(root.path(), &[&flags[..], &["--service-account", "ns:name"]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("kind: ClusterRole\n") && text.contains("namespace: ns, name: name"),
        "{text}"
    );
    assert!(text.contains("[impersonate]") && !text.contains("impersonate:user-info"), "{text}");
    // Its command line is that of `run`.
    let by_flags = [
        &[
            "rbac",
            "--oidc-issuer-url=https://a.example",
            "--oidc-client-id=a",
            "--oidc-groups-claim=g",
        ][..],
        &["--secure-port=443", "--token-passthrough=true", "--extra-user-headers=a=b"],
        &["--as-user-extra=asked", "--as-user-extra=other"],
    ];
    let output = run(root.path(), &by_flags.concat());
    let text = String::from_utf8(output.stdout).unwrap();
    for right in [
        "subjectaccessreviews",
        "tokenreviews",
        "resources: [userextras/a]",
        "userextras/asked",
        "userextras/other",
    ] {
        assert!(
            text.contains(right),
            "{right}: {text} {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let output = run(root.path(), &[&by_flags.concat()[..], &["--disable-impersonation"]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("subjectaccessreviews") && !text.contains("[impersonate]"), "{text}");
    let output = run(root.path(), &[&flags[..], &["--constrained"]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("# It needs") && text.contains("\"impersonate:user-info\""), "{text}");
}

/// 0 for clean, 1 for findings on standard output, 2 for files that cannot be read.
#[test]
fn lint_tells_by_its_exit_code() {
    let root = tempfile::tempdir().unwrap();
    let output = render(root.path(), AUTHENTICATION, &APISERVER);
    assert!(output.status.success(), "{output:?}");
    let clean = run(root.path(), &["lint", "out/envoy.yaml"]);
    assert_eq!((clean.status.code(), &*clean.stdout), (Some(0), &b""[..]), "{clean:?}");
    let routes = root.path().join("out/routes.yaml");
    let text = fs::read_to_string(&routes).unwrap();
    fs::write(&routes, text.replace("{status: 403}", "{status: 200}")).unwrap();
    let broken = run(root.path(), &["lint", "out/envoy.yaml"]);
    let text = String::from_utf8(broken.stdout).unwrap();
    assert_eq!(broken.status.code(), Some(1), "{text}");
    assert!(
        text.contains("routes.yaml: resources[0].virtual_hosts[0].routes[3]: last-route: "),
        "{text}"
    );
    let missing = run(root.path(), &["lint", "nothing.yaml"]);
    assert_eq!(missing.status.code(), Some(2));
    assert_eq!(String::from_utf8(missing.stderr).unwrap().lines().count(), 1);
}

/// kubehook's secrets may be short. The field says that it is known what that means.
#[test]
fn break_in_11_a_short_shared_secret_needs_its_field() {
    let root = tempfile::tempdir().unwrap();
    let secret = root.path().join("secret");
    fs::write(&secret, "s\n").unwrap();
    for (field, good) in [("", false), (", insecureShortSecret: true", true)] {
        let document = format!(
            "{{apiVersion: gateway.kube-oidc.dev/v1alpha1, kind: GatewayConfiguration, \
             sharedSecret: {{audience: kubehook, secretFiles: [{}]{field}}}}}",
            secret.display()
        );
        fs::write(root.path().join("gateway.yaml"), document).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_kube-oidc-gateway"));
        command.current_dir(root.path()).args(["secrets", "--gateway-config", "gateway.yaml"]);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), good, "{said}");
        assert_eq!(said.contains("the secret has 1 bytes"), !good, "{said}");
        assert!(good || said.contains("insecureShortSecret"), "the way out: {said}");
    }
}

/// What `sharedSecret` needs outside of `run`: it is said, printed, and found missing.
#[test]
fn a_shared_secret_with_an_envoy_of_ones_own() {
    const VARIABLE: &str = "KUBE_OIDC_GATEWAY_SHARED_SECRETS";
    let root = tempfile::tempdir().unwrap();
    let gateway = root.path().join("gateway.yaml");
    let secret = root.path().join("shared-secret");
    fs::write(&secret, "a-secret-that-nobody-may-see-which-has-thirty-two-bytes-and-more\n")
        .unwrap();
    let document = format!(
        "{{apiVersion: gateway.kube-oidc.dev/v1alpha1, kind: GatewayConfiguration, \
         sharedSecret: {{audience: kubehook, secretFiles: [{}]}}}}",
        secret.display()
    );
    fs::write(&gateway, document).unwrap();
    let flags =
        ["--gateway-config", "gateway.yaml", "--concurrency", "1", "--listen", "127.0.0.1:0"];
    let flags: Vec<_> = APISERVER.iter().chain(&flags).copied().collect();
    let output = render(root.path(), AUTHENTICATION, &flags);
    fs::write(root.path().join("filter.wasm"), support::filter()).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains(VARIABLE), "{said}");
    assert!(said.contains("kube-oidc-gateway secrets"), "the way out: {said}");

    let program = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kube-oidc-gateway"));
        command.current_dir(root.path()).args(words).output().unwrap()
    };
    let printed = program(&["secrets", "--gateway-config", "gateway.yaml"]);
    let printed = String::from_utf8(printed.stdout).unwrap();
    let (name, value) = printed.trim_end().split_once('=').unwrap();
    assert!(name == VARIABLE && value.starts_with("{\"keys\":[{\"algorithm\":\"HS256\""), "{name}");

    // Envoy, as it was told to be started.
    let words = String::from_utf8(output.stdout).unwrap();
    let words = words.split_whitespace().skip(1);
    for (environment, want) in [
        (Some((name, value)), "all dependencies initialized"),
        (None, "sharedSecret: no KUBE_OIDC_GATEWAY_SHARED_SECRETS in the environment"),
    ] {
        let log = root.path().join("log");
        let mut envoy = Command::new(support::envoy())
            .args(words.clone())
            .args(["--log-level", "info", "--log-path", log.to_str().unwrap()])
            .env_clear()
            .envs(environment)
            .spawn()
            .unwrap();
        let start = Instant::now();
        let told = || fs::read_to_string(&log).unwrap_or_default();
        while !told().contains(want) && start.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(20));
        }
        envoy.kill().unwrap();
        envoy.wait().unwrap();
        let told = told();
        assert!(told.contains(want), "{want}: {told}");
        assert_eq!(told.contains("configuration refused"), environment.is_none(), "{told}");
        fs::remove_file(&log).unwrap();
    }

    // Where no secret can be handed over, the field is named, and a way out.
    for words in [
        &["istio", "--module", "registry.example/filter:1"][..],
        &["envoy-gateway", "--module", "registry.example/filter:1"],
    ] {
        let files =
            ["--authentication-config", "authentication.yaml", "--gateway-config", "gateway.yaml"];
        let output = program(&[words, &files].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("sharedSecret: "), "{said}");
        assert!(said.contains("--signing-key-file") && said.lines().count() == 1, "{said}");
    }
}

/// An Envoy that says of itself what a test wants, and leaves a file behind when it is asked for more.
fn fake_envoy(folder: &Path, version: &str) -> PathBuf {
    let path = folder.join("fake-envoy");
    let started = folder.join("started").display().to_string();
    let told =
        format!("echo; echo '{}  version: 9aed/{version}/Clean/RELEASE/BoringSSL'", path.display());
    let script =
        format!("#!/bin/sh\nif [ \"$1\" = --version ]; then {told}; else : >{started}; fi\n");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn cve_2026_73548_run_starts_no_envoy_that_has_it() {
    let root = tempfile::tempdir().unwrap();
    for (version, more, refused) in [
        ("1.39.0", &[][..], true),
        ("1.36.9", &["--allow-vulnerable-envoy=false"], true),
        ("1.35.13", &[], true),
        ("1.39.1", &[], false),
        ("1.39.0", &["--allow-vulnerable-envoy"], false),
        ("1.39.0-dev", &[], false),
    ] {
        let envoy = fake_envoy(root.path(), version);
        let output = Command::new(env!("CARGO_BIN_EXE_kube-oidc-gateway"))
            .args(["run", "--oidc-issuer-url=https://a.example", "--oidc-client-id=a"])
            .args(["--server=https://127.0.0.1:1", "--token=a", "--insecure-skip-tls-verify"])
            .args(["--filter=/filter.wasm", "--max-undecided-connections-per-address=0"])
            .args(["--bind-address=127.0.0.1", "--secure-port=1"])
            .arg(format!("--cert-dir={}", root.path().display()))
            .arg(format!("--envoy-binary={}", envoy.display()))
            // What comes after the version: a file in the way of the folder.
            .arg(format!("--run-dir={}/run", envoy.display()))
            .args(more)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{version} {more:?}: {said}");
        let refusal = format!("Envoy {version} has CVE-2026-73548: ");
        assert_eq!(said.contains(&refusal) && !said.contains(" WARN "), refused, "{said}");
        assert_eq!(said.contains(" WARN "), !refused && version != "1.39.1", "{said}");
        assert!(!root.path().join("started").exists(), "{version} {more:?}");
    }
}

#[test]
fn the_module_that_counts_connections_is_missed_by_its_name() {
    let root = tempfile::tempdir().unwrap();
    assert!(render(root.path(), AUTHENTICATION, &APISERVER).status.success());
    let module = root.path().join("connections.wasm");
    fs::remove_file(&module).unwrap();
    let again = rendered(root.path(), &APISERVER);
    let envoy = fake_envoy(root.path(), "1.40.0");
    let output = Command::new(env!("CARGO_BIN_EXE_kube-oidc-gateway"))
        .args(["run", "--oidc-issuer-url=https://a.example", "--oidc-client-id=a"])
        .args(["--server=https://127.0.0.1:1", "--token=a", "--insecure-skip-tls-verify"])
        .arg(format!("--filter={}", root.path().join("filter.wasm").display()))
        .arg(format!("--cert-dir={}", root.path().display()))
        .arg(format!("--envoy-binary={}", envoy.display()))
        .arg("--bind-address=127.0.0.1")
        .output()
        .unwrap();
    for output in [output, again] {
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(module.to_str().unwrap()), "{said}");
        assert!(said.contains("--max-undecided-connections-per-address=0"), "the way out: {said}");
    }
    assert!(!root.path().join("started").exists());
}

/// A module that is missing, is for another processor or another kind, and an Envoy it was not tested with: each is refused before
/// Envoy starts, with the way out.
#[test]
fn a_native_filter_that_envoy_could_not_load_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let module = root.path().join("libkube_oidc_gateway.so");
    let other = if cfg!(target_arch = "aarch64") { 62 } else { 183 };
    // The head of a shared library for that processor (elf(5)).
    let library = |machine: u8| {
        let mut head = b"\x7fELF\x02\x01\x01".to_vec();
        head.resize(16, 0);
        head.extend([3, 0, machine, 0]);
        head
    };
    let own = if other == 62 { 183 } else { 62 };
    for (content, version, want) in [
        (None, "1.40.0", "put the libkube_oidc_gateway.so of the same release there"),
        (Some(b"\0asm\x01\0\0\0".to_vec()), "1.40.0", "is no shared library of 64 bits"),
        (Some(library(other)), "1.40.0", "and Envoy for "),
        (Some(library(own)), "1.41.0", "tested with Envoy 1.39 and 1.40 alone, and this is 1.41.0"),
        (Some(library(own)), "1.40.0-dev", "this one does not say of which release it is"),
    ] {
        match &content {
            Some(content) => fs::write(&module, content).unwrap(),
            None => assert!(!module.exists()),
        }
        let envoy = fake_envoy(root.path(), version);
        let output = Command::new(env!("CARGO_BIN_EXE_kube-oidc-gateway"))
            .args(["run", "--oidc-issuer-url=https://a.example", "--oidc-client-id=a"])
            .args(["--server=https://127.0.0.1:1", "--token=a", "--insecure-skip-tls-verify"])
            .args(["--filter-form=native", "--bind-address=127.0.0.1"])
            .arg(format!("--native-filter={}", module.display()))
            .arg(format!("--cert-dir={}", root.path().display()))
            .arg(format!("--envoy-binary={}", envoy.display()))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(want) && said.contains("--filter-form=wasm"), "{said}");
        assert!(!root.path().join("started").exists(), "{said}");
    }
}

#[test]
fn render_takes_the_form_of_the_filter() {
    let root = tempfile::tempdir().unwrap();
    let native = ["--filter-form=native", "--native-filter=/a/libkube_oidc_gateway.so"];
    let flags = [&APISERVER[..], &native, &["--envoy-version=1.40.0"]].concat();
    let output = render(root.path(), AUTHENTICATION, &flags);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let read = |name| fs::read_to_string(root.path().join("out").join(name)).unwrap();
    // It counts connections itself.
    assert!(read("filter-connections.yaml").contains("\"/a/libkube_oidc_gateway.so\""));
    assert!(read("filter-gateway.yaml").contains("\"/a/libkube_oidc_gateway.so\""));
    assert!(read("envoy.yaml").contains("dynamic_modules.v3.DynamicModuleFilter"));
    fs::remove_dir_all(root.path().join("out")).unwrap();
    let flags = [&APISERVER[..], &native, &["--envoy-version=1.41.0"]].concat();
    let output = render(root.path(), AUTHENTICATION, &flags);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("alone, and this is 1.41.0: "), "{said}");
    assert!(!output.status.success() && !root.path().join("out").exists(), "{said}");
}

#[test]
fn cve_2026_73548_render_writes_nothing_for_an_envoy_that_has_it() {
    let root = tempfile::tempdir().unwrap();
    let old = fake_envoy(root.path(), "1.39.0").display().to_string();
    for flags in [&["--envoy", &old][..], &["--envoy-version", "1.38.3"]] {
        let output = render(root.path(), AUTHENTICATION, &[&APISERVER[..], flags].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(" has CVE-2026-73548: "), "{said}");
        assert!(!output.status.success() && !root.path().join("out").exists(), "{said}");
    }
    let output = render(
        root.path(),
        AUTHENTICATION,
        &[&APISERVER[..], &["--envoy-version", "1.38.4"]].concat(),
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("CVE"), "{said}");
    fs::remove_dir_all(root.path().join("out")).unwrap();
    let output = render(root.path(), AUTHENTICATION, &APISERVER);
    let said = String::from_utf8_lossy(&output.stderr);
    let note = "nothing tells the version of Envoy: it must not have CVE-2026-73548. Take 1.36.10 or a later 1.36, ";
    assert!(output.status.success() && said.contains(note), "{said}");
    let bad = render(
        root.path(),
        AUTHENTICATION,
        &[&APISERVER[..], &["--envoy-version", "1.40"]].concat(),
    );
    let said = String::from_utf8_lossy(&bad.stderr);
    assert!(said.contains("not of the form MAJOR.MINOR.PATCH"), "{said}");
}

#[test]
fn cve_2026_73548_lint_judges_the_version_that_it_is_told() {
    let root = tempfile::tempdir().unwrap();
    assert!(render(root.path(), AUTHENTICATION, &APISERVER).status.success());
    let old = fake_envoy(root.path(), "1.39.0").display().to_string();
    let finding = "out/envoy.yaml: : envoy-version: Envoy 1.39.0 has CVE-2026-73548: what a client sends behind an upgrade \
                   request reaches kube-apiserver as a request of its own; take 1.36.10 or a later 1.36, 1.37.6 or a later \
                   1.37, 1.38.4 or a later 1.38, 1.39.1 or a later 1.39, or 1.40.0 or later\n  way out: run a version of \
                   Envoy with the fix of CVE-2026-73548, with its switch left on: docs/envoy.md has the versions\n";
    for (flags, code, printed, warned) in [
        (&["--envoy", &old][..], 1, finding, false),
        (&["--envoy-version", "1.39.0"], 1, finding, false),
        (&["--envoy-version", "1.39.1"], 0, "", false),
        (&[], 0, "", true),
    ] {
        let output = run(root.path(), &[&["lint", "out/envoy.yaml"], flags].concat());
        assert_eq!(String::from_utf8_lossy(&output.stdout), printed, "{flags:?}");
        assert_eq!(output.status.code(), Some(code), "{flags:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.contains("warning: nothing tells the version of Envoy"), warned, "{said}");
    }
}

/// `--envoy` here and `--envoy-binary` there: each command that names an Envoy takes both.
#[test]
fn an_envoy_is_named_by_one_flag_and_its_former_name() {
    for command in ["run", "render", "lint", "portal"] {
        let output = Command::new(env!("CARGO_BIN_EXE_kube-oidc-gateway"))
            .args([command, "--help"])
            .output()
            .unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(help.contains("--envoy-binary <FILE>"), "{command}: {help}");
        assert!(help.contains("--envoy]"), "{command}: {help}");
    }
}

/// `portal` and `render` wanted `--filter` though the module lay beside the program.
#[test]
fn the_module_beside_the_program_is_found() {
    let root = tempfile::tempdir().unwrap();
    let inputs = support::inputs(root.path());
    support::make_files(&inputs);
    fs::write(root.path().join("authentication.yaml"), AUTHENTICATION).unwrap();
    fs::write(root.path().join("secret"), "a secret that is long enough for every check").unwrap();
    let folder = root.path().join("bin");
    fs::create_dir(&folder).unwrap();
    let program = folder.join("kube-oidc-gateway");
    fs::copy(env!("CARGO_BIN_EXE_kube-oidc-gateway"), &program).unwrap();
    let run = |words: &[&str]| {
        Command::new(&program).current_dir(root.path()).env_clear().args(words).output().unwrap()
    };
    let render = [
        "render",
        "--out=out",
        "--authentication-config=authentication.yaml",
        "--tls-cert-file=serving/tls.crt",
        "--tls-private-key-file=serving/tls.key",
        "--apiserver=https://10.96.0.1",
        "--apiserver-ca-file=serviceaccount/ca.crt",
        "--apiserver-token-file=serviceaccount/token",
        "--system-ca-file=ssl/ca-certificates.crt",
    ];
    let portal = ["portal", "--secret-file=secret", "--run-dir=portal", "--envoy-binary=/none"];
    for words in [&render[..], &portal[..]] {
        let output = run(words);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.contains("no filter.wasm beside this program: name one with --filter"),
            "{said}"
        );
    }
    let module = folder.join("filter.wasm");
    fs::write(&module, "").unwrap();
    fs::write(folder.join("connections.wasm"), "").unwrap();
    let output = run(&render);
    assert!(output.status.success(), "{output:?}");
    let filter = fs::read_to_string(root.path().join("out/filter-gateway.yaml")).unwrap();
    assert!(filter.contains(module.to_str().unwrap()), "{filter}");
    let said = String::from_utf8(run(&portal).stderr).unwrap();
    assert!(said.contains("cannot run \"/none\""), "{said}");
}
