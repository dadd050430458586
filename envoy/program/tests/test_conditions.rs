//! `test-conditions`, and the patterns of docs/conditions.md, which are tested by it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kube-oidc-gateway"));
    command.arg("test-conditions").args(arguments).current_dir(root()).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Changes both files of the page, and runs them.
fn changed(change: impl Fn(&str) -> String, more: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    for name in ["gateway.yaml", "gateway.test.yaml"] {
        let before = fs::read_to_string(root().join("docs/conditions").join(name)).unwrap();
        fs::write(folder.path().join(name), change(&before)).unwrap();
    }
    let tests = folder.path().join("gateway.test.yaml");
    run(&[&[tests.to_str().unwrap()], more].concat())
}

#[test]
fn the_patterns_of_the_page_do_what_it_says() {
    let output = run(&["docs/conditions/gateway.test.yaml"]);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    assert!(out.lines().all(|line| line.starts_with("ok    ")), "{out}");
    // Each of the conditions refuses something there.
    assert!(!err.contains("note: "), "{err}");
    assert!(err.ends_with(" tests, 0 failed\n"), "{err}");
}

/// Without one of the conditions, its tests fail and no others.
#[test]
fn every_pattern_is_what_refuses_its_requests() {
    let names = [
        "delete-in-kube-system",
        "exec-from-office",
        "agents-read-only",
        "no-secrets-for-contractors",
    ];
    for name in names {
        let without = |text: &str| {
            let mut conditions = text.split("\n- name: ");
            let head = conditions.next().unwrap().to_owned();
            let kept = conditions.filter(|condition| !condition.starts_with(name));
            if text.contains("kind: GatewayConfiguration") {
                kept.fold(head, |text, condition| format!("{text}\n- name: {condition}"))
            } else {
                text.to_owned()
            }
        };
        let output = changed(without, &["--output=json"]);
        assert_eq!(output.status.code(), Some(1), "{name}: {}", text(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let tests = report["tests"].as_array().unwrap();
        for test in tests {
            let is_its_own = test["expected"]["condition"] == name;
            assert_eq!(test["passed"], !is_its_own, "{name}: {test}");
        }
    }
}

#[test]
fn a_difference_is_shown_and_a_condition_that_nothing_tests_is_named() {
    let other = |text: &str| {
        text.replace(
            "no-secrets-for-contractors, code: 403",
            "no-secrets-for-contractors, code: 401",
        )
    };
    let output = changed(other, &[]);
    assert_eq!(output.status.code(), Some(1));
    let shown = "FAIL  a contractor reads a secret
      - expected: refused by condition no-secrets-for-contractors (401)
      + got:      refused by condition no-secrets-for-contractors (403): condition no-secrets-for-contractors: its expression is false
";
    assert!(text(&output.stdout).contains(shown), "{}", text(&output.stdout));
    let unseen = |text: &str| text.replace("groups: [contractors]", "groups: [others]");
    let output = changed(unseen, &[]);
    let note = "note: no test is refused by condition no-secrets-for-contractors\n";
    assert!(text(&output.stderr).contains(note), "{}", text(&output.stderr));
    let allowed = "FAIL  a contractor watches secrets
      - expected: refused by condition no-secrets-for-contractors (403)
      + got:      allowed
";
    assert!(text(&output.stdout).contains(allowed), "{}", text(&output.stdout));
}

#[test]
fn what_cannot_be_meant_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = root().join("docs/conditions/gateway.yaml");
    let with = |tests: &str| {
        let path = folder.path().join("tests.yaml");
        fs::write(&path, tests).unwrap();
        run(&["--gateway-config", gateway.to_str().unwrap(), path.to_str().unwrap()])
    };
    let head = "apiVersion: gateway.kube-oidc.dev/v1alpha1\nkind: ConditionTests\n";
    let one = |test: &str| format!("{head}tests:\n- {{name: a, {test}}}\n");
    for (tests, want) in [
        ("kind: ConditionTests\ntests: []".to_owned(), "apiVersion"),
        (head.replace("Tests", "Test") + "tests: []", "kind: Invalid value: \"ConditionTest\""),
        (
            one("request: {}, expect: allowed"),
            "tests[0].request: Required value: method and path, or verb and resource",
        ),
        (
            one("request: {path: /api, verb: get}, expect: allowed"),
            "tests[0].request.verb: path says it already",
        ),
        (
            one("request: {verb: get, resource: pods, method: GET}, expect: allowed"),
            "tests[0].request.method: verb says it already",
        ),
        (one("request: {path: /api, uri: /}, expect: allowed"), "unknown field `uri`"),
        (
            one("request: {path: /api}, expect: refused"),
            "expect must be `allowed`, or have a condition or a code",
        ),
        (
            one("request: {path: /api}, expect: {}"),
            "expect must be `allowed`, or have a condition or a code",
        ),
        (one("request: {path: /api}, now: yesterday, expect: allowed"), "now"),
    ] {
        let output = with(&tests);
        assert_eq!(output.status.code(), Some(2), "{tests}: {}", text(&output.stdout));
        assert!(text(&output.stderr).contains(want), "{} / {want}", text(&output.stderr));
    }
    // A target that nobody can read is refused as the gateway refuses it.
    let output = with(&one("request: {path: /api/v1/%zz}, expect: {code: 400}"));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let output = run(&["docs/conditions/gateway.yaml"]);
    assert_eq!(output.status.code(), Some(2));
}

/// docs/conditions.md shows the conditions as they stand in the file.
#[test]
fn the_page_has_the_patterns_as_they_are_tested() {
    let page = fs::read_to_string(root().join("docs/conditions.md")).unwrap();
    let file = fs::read_to_string(root().join("docs/conditions/gateway.yaml")).unwrap();
    let mut shown = 0;
    for part in page.split("<!-- conditions/gateway.yaml: ").skip(1) {
        let (name, rest) = part.split_once(" -->\n```yaml\n").unwrap();
        let (block, _) = rest.split_once("```").unwrap();
        assert!(block.starts_with(&format!("- name: {name}\n")), "{name}");
        assert!(file.contains(block), "{name} is otherwise in the file");
        shown += 1;
    }
    assert_eq!(shown, file.matches("\n- name: ").count());
}
