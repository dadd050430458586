//! The tools for people: `check`, `review`, `cel`. Run as programs, because exit codes and streams are their contract.

use std::{
    fs,
    io::Write,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The public half of the ES256 key of RFC 7515, appendix A.3.
const KEY_SET: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"rfc7515",
    "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kube-oidc-gateway"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that does not read its input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

const GOOD: &str = "apiVersion: apiserver.config.k8s.io/v1beta1
kind: AuthenticationConfiguration
jwt:
- issuer: {url: 'https://issuer.example', audiences: [kubernetes]}
  claimMappings:
    username: {expression: 'claims.sub'}
    groups: {claim: groups, prefix: 'g:'}
";

#[test]
fn check_prints_one_error_a_line_in_kube_apiservers_words() {
    let folder = Folder::new();
    let good = folder.file("good.yaml", GOOD);
    let bad = folder.file(
        "bad.yaml",
        &GOOD.replace("https://issuer.example", "").replace("[kubernetes]", "[]"),
    );
    let unknown = folder.file("unknown.yaml", &GOOD.replace("audiences", "audience"));
    for (path, more, code, want) in [
        (&good, None, 0, vec![]),
        (
            &bad,
            None,
            1,
            vec![
                "jwt[0].issuer.url: Required value",
                "jwt[0].issuer.audiences: Required value: at least one jwt[0].issuer.audiences is required",
            ],
        ),
        (
            &unknown,
            None,
            1,
            vec![r#"strict decoding error: unknown field "jwt[0].issuer.audience""#],
        ),
        (
            &good,
            Some("https://issuer.example"),
            1,
            vec!["URL must not overlap with disallowed issuers: [https://issuer.example]"],
        ),
    ] {
        let mut arguments = vec!["check", "--authentication-config", path.to_str().unwrap()];
        arguments.extend(more.map(|_| "--service-account-issuer"));
        arguments.extend(more);
        let output = run(&arguments, "");
        assert_eq!(output.status.code(), Some(code), "{path:?}");
        let understood = format!(
            "{}: an AuthenticationConfiguration with 1 issuer: https://issuer.example\n",
            path.display()
        );
        assert_eq!(text(&output.stdout), if code == 0 { &*understood } else { "" });
        let lines: Vec<_> = text(&output.stderr).lines().collect();
        assert_eq!(lines.len(), want.len(), "{lines:?}");
        for (line, want) in lines.iter().zip(want) {
            assert!(line.contains(want), "{line} / {want}");
        }
    }
}

/// A typo in one document was found when the pod did not become ready.
#[test]
fn check_takes_every_document_and_standard_input() {
    const GATEWAY: &str =
        "apiVersion: gateway.kube-oidc.dev/v1alpha1\nkind: GatewayConfiguration\n";
    const PORTAL: &str = "apiVersion: gateway.kube-oidc.dev/v1alpha1\nkind: PortalConfiguration\n";
    let folder = Folder::new();
    let authentication = folder.file("authentication.yaml", GOOD);
    let gateway = folder.file("gateway.yaml", &format!("{GATEWAY}clientImpersonation: reject\n"));
    let typo = folder.file("typo.yaml", &format!("{GATEWAY}clientImpersonaton: reject\n"));
    let portal = folder.file("portal.yaml", &format!("{PORTAL}host: portal.example\n"));
    let hostless = folder.file("hostless.yaml", PORTAL);
    let flag =
        |name: &str, path: &PathBuf| [format!("--{name}-config"), path.display().to_string()];
    let input = PathBuf::from("-");
    for (flags, stdin, code, want) in [
        (
            [flag("authentication", &authentication), flag("gateway", &gateway)].concat(),
            "",
            0,
            vec![
                "1 issuer: https://issuer.example",
                "gateway.yaml: a GatewayConfiguration; kubectl --as: reject",
            ],
        ),
        (
            flag("gateway", &typo).to_vec(),
            "",
            1,
            vec!["typo.yaml: GatewayConfiguration: ", "clientImpersonaton"],
        ),
        (flag("portal", &portal).to_vec(), "", 0, vec!["a PortalConfiguration for portal.example"]),
        (flag("portal", &hostless).to_vec(), "", 1, vec!["hostless.yaml: ", "host"]),
        (
            flag("authentication", &input).to_vec(),
            GOOD,
            0,
            vec!["standard input: an AuthenticationConfiguration"],
        ),
        (
            [flag("authentication", &input), flag("gateway", &input)].concat(),
            GOOD,
            1,
            vec!["standard input (-) can be one document alone"],
        ),
        (vec![], "", 2, vec!["--authentication-config"]),
    ] {
        let flags: Vec<_> = ["check"].into_iter().chain(flags.iter().map(String::as_str)).collect();
        let output = run(&flags, stdin);
        assert_eq!(output.status.code(), Some(code), "{flags:?}: {}", text(&output.stderr));
        let said = if code == 0 { text(&output.stdout) } else { text(&output.stderr) };
        for want in want {
            assert!(said.contains(want), "{flags:?}: {said}");
        }
    }
}

#[test]
fn migrated_values_are_yaml_and_what_is_left_out_is_said() {
    let folder = Folder::new();
    let old = folder.file("values.yaml", "oidc: {clientId: a}\nimage: {tag: 1.4.0}\n");
    let output = run(&["migrate-values", old.to_str().unwrap()], "");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "oidc:\n  clientId: a\n"));
    assert!(text(&output.stderr).starts_with("image.tag: left out: "), "{}", text(&output.stderr));
    let output = run(&["migrate-values", "-"], "odic: {}\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("odic: left out"), "{}", text(&output.stderr));
    let output = run(&["migrate-values", "-"], "- a\n");
    assert_eq!(text(&output.stderr), "kube-oidc-gateway: -: values are a map of names\n");
}

#[test]
fn review_answers_with_a_token_review_and_its_exit_code() {
    let folder = Folder::new();
    let good = folder.file("good.yaml", GOOD);
    let broken = folder.file("broken.yaml", "jwt: {");
    let keys = folder.file("keys.json", KEY_SET);
    let keys = format!("https://issuer.example={}", keys.display());
    let review = |config: &PathBuf, token: &str| {
        let config = config.to_str().unwrap();
        run(
            &[
                "review",
                "--authentication-config",
                config,
                "--jwks",
                &keys,
                "--time",
                "2026-01-01T00:00:00Z",
                "--token-file",
                "-",
            ],
            token,
        )
    };
    for token in ["garbage", "", "eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIn0."]
    {
        let output = review(&good, token);
        assert_eq!(output.status.code(), Some(1), "{token}");
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer["kind"], "TokenReview");
        assert_eq!(answer["status"]["authenticated"], json!(false));
        assert!(!answer["status"]["error"].as_str().unwrap().is_empty());
    }
    // Whom the gateway would ask.
    let gateway = folder.file(
        "gateway.yaml",
        "{apiVersion: gateway.kube-oidc.dev/v1alpha1, kind: GatewayConfiguration, introspection: [{name: a, \
         issuer: 'https://issuer.example', endpoint: 'https://issuer.example/introspect'}]}",
    );
    let output = run(
        &[
            "review",
            "--authentication-config",
            good.to_str().unwrap(),
            "--gateway-config",
            gateway.to_str().unwrap(),
            "--token-file",
            "-",
        ],
        "opaque",
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("asks issuer"), "{}", text(&output.stdout));
    // Whose token it is, and which issuer was meant.
    for (issuer, want) in [
        ("https://issuer.example/", "they differ by a slash at the end"),
        ("https://Issuer.example", "they differ in upper and lower case"),
        ("https://other.example", "nearest is \"https://issuer.example\""),
    ] {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let token =
            format!("{}.{}.AA", part(json!({"alg": "RS256"})), part(json!({"iss": issuer})));
        let output = review(&good, &token);
        assert_eq!(output.status.code(), Some(1), "{issuer}");
        let said = text(&output.stderr);
        assert!(said.contains(&format!("issuer is {issuer:?}")) && said.contains(want), "{said}");
    }
    // The caret of an expression's error stays where it belongs, and the way out is said.
    let mapping = GOOD.replace("claim: groups, prefix: 'g:'", "expression: 'claims.a.map(g, g)'");
    let output = review(&folder.file("mapping.yaml", &mapping), "garbage");
    let said: Vec<_> = text(&output.stderr).lines().collect();
    assert_eq!(output.status.code(), Some(2), "{said:?}");
    assert!(said.iter().any(|line| line.starts_with(" | ") && line.ends_with('^')), "{said:?}");
    assert!(said.last().unwrap().contains("dyn(claims.groups)"), "{said:?}");
    let output = review(&broken, "garbage");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), ""));
    assert_eq!(text(&output.stderr).lines().count(), 1, "{}", text(&output.stderr));
}

#[test]
fn cel_prints_the_value_or_the_error() {
    let folder = Folder::new();
    let claims = folder.file("claims.json", r#"{"sub":"jane","groups":["a","b"],"n":1234567}"#);
    let token = format!("e30.{}.AA\n", URL_SAFE_NO_PAD.encode(r#"{"sub":"jane"}"#));
    let token = folder.file("token", &token);
    let user = folder.file("user.json", r#"{"username":"jane","groups":["a"]}"#);
    for (flag, path, expression, want) in [
        ("--claims", &claims, "claims.sub + '/x'", Ok(r#""jane/x""#)),
        ("--claims", &claims, "dyn(claims.groups).map(g, g + '!')", Ok(r#"["a!","b!"]"#)),
        ("--claims", &claims, "string(claims.n)", Ok(r#""1.234567e+06""#)),
        ("--claims", &claims, "{'a': 1, 'b': 2}", Ok(r#"{"a":1,"b":2}"#)),
        ("--claims", &claims, "claims.hd", Err("no such key: hd")),
        ("--claims", &claims, "claims.groups.exists(g, true)", Err("compilation failed")),
        ("--claims", &claims, "user.username", Err("undeclared reference to 'user'")),
        ("--user", &user, "user.groups.all(g, g != 'b')", Ok("true")),
        ("--token-file", &token, "claims.sub", Ok(r#""jane""#)),
        ("--token-file", &claims, "claims.sub", Err("a token has three parts")),
        ("--claims", &claims, "-1 + 2", Ok("1")),
        ("--claims", &claims, "claims.groups.map(g, g)", Err("dyn(claims.groups)")),
    ] {
        let output = run(&["cel", flag, path.to_str().unwrap(), expression], "");
        match want {
            Ok(want) => {
                assert_eq!(text(&output.stdout).trim_end(), want, "{expression}");
                assert_eq!(output.status.code(), Some(0));
            }
            Err(want) => {
                assert!(text(&output.stderr).contains(want), "{}", text(&output.stderr));
                assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""));
            }
        }
    }
}

/// Whose rules hold: the newest released minor's, or those that are asked for.
#[test]
fn rules_are_those_of_a_version() {
    let folder = Folder::new();
    let claims =
        folder.file("claims.json", r#"{"kubernetes.io":{"namespace":"n"},"groups":["a"]}"#);
    let claims = claims.to_str().unwrap();
    for (rules, expression, want) in [
        (None, "claims.`kubernetes.io`.namespace", Ok(r#""n""#)),
        (Some("1.37"), "claims.`kubernetes.io`.namespace", Ok(r#""n""#)),
        (Some("1.36"), "claims.`kubernetes.io`.namespace", Err("unsupported syntax: '`'")),
        (Some("1.36"), "claims.groups.orValue([])", Ok(r#"["a"]"#)),
        (None, "claims.groups.orValue([])", Err("no such overload")),
        (None, "cidr('10.0.0.0/8').isMask()", Err("undeclared reference to 'isMask'")),
        (Some("1.38"), "cidr('10.0.0.0/8').isMask()", Ok("true")),
        (Some("1.35"), "true", Err("the rules of 1.36, 1.37 and 1.38")),
    ] {
        let mut arguments = vec!["cel", "--claims", claims, expression];
        arguments.extend(rules.into_iter().flat_map(|rules| ["--kubernetes-rules", rules]));
        let output = run(&arguments, "");
        match want {
            Ok(want) => assert_eq!(text(&output.stdout).trim_end(), want, "{expression}"),
            Err(want) => {
                assert!(text(&output.stderr).contains(want), "{}", text(&output.stderr));
                assert!(!output.status.success());
            }
        }
    }
}

/// A condition on the address holds for a balancer, if nobody has said that it is one. `check` does not know the flags of `run`.
#[test]
fn check_warns_of_a_condition_that_reads_the_address() {
    let folder = Folder::new();
    let with = |expression: &str| {
        let conditions = json!([{"name": "office", "expression": expression, "message": "m"}]);
        let text = json!({
            "apiVersion": "gateway.kube-oidc.dev/v1alpha1", "kind": "GatewayConfiguration",
            "conditions": conditions,
        });
        let path = folder.file("conditions.json", &text.to_string());
        let output = run(&["check", "--gateway-config", path.to_str().unwrap()], "");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{said}");
        said
    };
    let said = with("cidr('192.0.2.0/24').containsIP(request.address)");
    for word in ["warning: ", "request.address", "--trusted-hops"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert_eq!(with("request.verb == 'get'"), "");
}

#[test]
fn check_names_what_is_not_portable() {
    let folder = Folder::new();
    let good = folder.file("good.yaml", GOOD);
    let quoted = folder.file("quoted.yaml", &GOOD.replace("claims.sub", "claims.`sub`"));
    let changed = folder.file(
        "changed.yaml",
        &GOOD.replace("claim: groups, prefix: 'g:'", "expression: 'claims.groups.orValue([])'"),
    );
    for (path, rules, code, want) in [
        (&good, "1.36,1.37,1.38", 0, ""),
        (&quoted, "1.37", 0, ""),
        (&quoted, "1.37,1.38", 0, ""),
        (&quoted, "1.36", 1, "jwt[0].claimMappings.username.expression: Invalid value"),
        (
            &quoted,
            "1.38,1.36",
            1,
            "not portable: refused by the rules of 1.36: jwt[0].claimMappings.username.expression: Invalid value",
        ),
        (&changed, "1.37,1.38", 0, ""),
        (
            &changed,
            "1.36,1.37",
            1,
            "not portable: jwt[0].claimMappings.groups.expression: \"claims.groups.orValue([])\" may mean something else from 1.37 on",
        ),
    ] {
        let path = path.to_str().unwrap();
        let output =
            run(&["check", "--authentication-config", path, "--kubernetes-rules", rules], "");
        let lines: Vec<_> = text(&output.stderr).lines().collect();
        assert_eq!(output.status.code(), Some(code), "{path} {rules}: {lines:?}");
        // One error; below that of an expression stand the expression and a caret.
        let (below, errors): (Vec<&str>, Vec<&str>) =
            lines.iter().partition(|line| line.starts_with(" | "));
        assert_eq!(errors.len(), usize::from(code == 1), "{lines:?}");
        assert!(below.last().is_none_or(|line| line.ends_with('^')), "{lines:?}");
        assert!(lines.concat().contains(want), "{lines:?}");
    }
}

/// `istio … | head` ended with a panic, and so did every other command that prints.
#[test]
fn nobody_who_reads_on_is_no_reason_to_panic() {
    let folder = Folder::new();
    let good = folder.file("good.yaml", GOOD);
    let good = good.to_str().unwrap();
    let gateway = folder.file(
        "gateway.yaml",
        "apiVersion: gateway.kube-oidc.dev/v1alpha1\nkind: GatewayConfiguration\n\
         sharedSecret: {audience: a, secretFiles: [secret], insecureShortSecret: true}\n",
    );
    folder.file("secret", "a secret that is long enough for every check there is");
    let claims = folder.file("claims.json", "{}");
    let claims = claims.to_str().unwrap();
    let values = folder.file("values.yaml", "image: {tag: 1.4.0}\n");
    let bootstrap = folder.file("bootstrap.yaml", "static_resources: {}\n");
    let commands: [(&[&str], i32); 16] = [
        (&["check", "--authentication-config", good], 0),
        (&["check", "--authentication-config", good, "--output=json"], 0),
        (&["check", "--authentication-config", claims], 1),
        (&["review", "--authentication-config", good, "--token-file", claims], 1),
        (&["cel", "--claims", claims, "1"], 0),
        (&["cel", "--claims", claims, "claims.a"], 1),
        (&["lint", bootstrap.to_str().unwrap()], 1),
        (&["lint", bootstrap.to_str().unwrap(), "--output=json"], 1),
        (&["lint", "/nowhere"], 2),
        (&["rbac", "--authentication-config", good], 0),
        (&["secrets", "--gateway-config", gateway.to_str().unwrap()], 0),
        (&["migrate-values", values.to_str().unwrap()], 0),
        (&["istio", "--module=a/b:c", "--authentication-config", good], 0),
        (&["envoy-gateway", "--module=a/b:c", "--authentication-config", good], 0),
        (&["--help"], 0),
        (&["nothing"], 2),
    ];
    for (command, code) in commands {
        // Nobody reads what it says on either, or on one of them.
        for closes_errors in [false, true] {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            let mut process = Command::new(env!("CARGO_BIN_EXE_kube-oidc-gateway"));
            process.args(command).current_dir(folder.0.path()).stdout(writer.try_clone().unwrap());
            if closes_errors {
                process.stderr(writer);
            }
            let output = process.output().unwrap();
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{command:?}: {said}");
            assert!(!said.contains("panicked"), "{command:?}: {said}");
        }
    }
}

#[test]
fn answers_for_programs_are_one_document() {
    let folder = Folder::new();
    let good = folder.file("good.yaml", GOOD);
    let good = good.to_str().unwrap();
    let bad = folder.file(
        "bad.yaml",
        &GOOD.replace("claim: groups, prefix: 'g:'", "expression: 'claims.a.map(g, g)'"),
    );
    let bad = bad.to_str().unwrap();
    let claims = folder.file("claims.json", r#"{"sub":"jane"}"#);
    let claims = claims.to_str().unwrap();
    let bootstrap = folder.file("bootstrap.yaml", "static_resources: {}\n");
    let bootstrap = bootstrap.to_str().unwrap();
    let answer = |words: &[&str], code: i32| -> Value {
        let output = run(&[words, &["--output", "json"]].concat(), "a.b.c");
        assert_eq!(output.status.code(), Some(code), "{words:?}: {}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "", "{words:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let got = answer(&["check", "--authentication-config", good], 0);
    assert_eq!(got["valid"], true);
    let want = json!({"file": good, "kind": "AuthenticationConfiguration", "issuers": ["https://issuer.example"]});
    assert_eq!(got["documents"], json!([want]));
    let got = answer(&["check", "--authentication-config", bad], 1);
    assert_eq!((&got["valid"], &got["documents"]), (&json!(false), &json!([])));
    assert!(got["errors"][0]["message"].as_str().unwrap().starts_with(bad), "{got}");
    assert!(got["errors"][0]["wayOut"].as_str().unwrap().contains("dyn("), "{got}");
    let got = answer(&["cel", "--claims", claims, "[claims.sub]"], 0);
    assert_eq!(got, json!({"value": ["jane"]}));
    let got = answer(&["cel", "--claims", claims, "claims.a"], 1);
    assert_eq!(got["error"], "no such key: a");
    let got = answer(&["review", "--authentication-config", good, "--token-file", "-"], 1);
    assert_eq!(got["review"]["status"]["authenticated"], false);
    assert_eq!(got["notes"], json!([]));
    let got = answer(&["lint", bootstrap], 1);
    let finding = &got["findings"][0];
    for member in ["rule", "at", "message", "wayOut"] {
        assert!(finding[member].as_str().is_some_and(|text| !text.is_empty()), "{finding}");
    }
    assert_eq!(got["warnings"].as_array().unwrap().len(), 1);
}

/// Where a wrong kind was quoted with a line of Go's sources.
#[test]
fn a_document_of_another_kind_is_told_so() {
    let folder = Folder::new();
    let pod = folder.file("pod.yaml", "apiVersion: v1\nkind: Pod\n");
    for document in ["authentication", "gateway", "portal"] {
        let flag = format!("--{document}-config");
        let output = run(&["check", &flag, pod.to_str().unwrap()], "");
        let said = text(&output.stderr);
        assert!(
            said.contains("apiVersion") || said.contains("Kind") || said.contains("kind"),
            "{said}"
        );
        assert!(!said.contains(".go"), "{said}");
    }
}
