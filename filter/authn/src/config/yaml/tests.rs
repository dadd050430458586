//! Files in YAML. What is said of duplicates, types and keys are go-yaml's and encoding/json's words.

use super::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const HEAD: &str = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n";

fn load(file: &str) -> Result<raw::AuthenticationConfiguration, String> {
    decode_yaml(file.as_bytes()).map_err(|error| error.to_string())
}

fn with_head(rest: &str) -> Result<raw::AuthenticationConfiguration, String> {
    load(&format!("{HEAD}{rest}"))
}

#[test]
fn the_usual_file() {
    let file = "# from the documentation
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer:
    url: https://issuer.example
    audiences: [kubernetes, 'other']
    audienceMatchPolicy: MatchAny
    certificateAuthority: |
      -----BEGIN
      -----END
  claimMappings:
    username: {claim: sub, prefix: \"\"}
    groups:
      claim: groups
      prefix: 'oidc:'
anonymous:
  enabled: yes
  conditions:
  - path: /healthz
";
    let config = load(file).expect("a file");
    let jwt = config.jwt.first().expect("an authenticator");
    assert_eq!(jwt.issuer.audiences, ["kubernetes", "other"]);
    assert_eq!(jwt.issuer.certificate_authority, "-----BEGIN\n-----END\n");
    assert_eq!(jwt.claim_mappings.username.prefix.as_deref(), Some(""));
    assert_eq!(jwt.claim_mappings.groups.prefix.as_deref(), Some("oidc:"));
    assert!(config.anonymous.is_some_and(|anonymous| anonymous.enabled));
}

#[test]
fn scalars_have_the_types_of_yaml_1_1() {
    let string = |got: &str, field: &str| {
        Some(format!(
            "json: cannot unmarshal {got} into Go struct field Issuer.jwt.issuer.{field} of type string"
        ))
    };
    for (issuer, want) in [
        ("url: https://a", None),
        ("url: \"yes\"", None),
        ("url: ~", None),
        ("url: 2001-12-14", None), // a date stays a string
        ("url: !!str 12", None),
        ("url: yes", string("bool", "url")), // Norway
        ("url: 0x1f", string("number", "url")),
        ("url: 1_000", string("number", "url")),
        ("url: 1.5", string("number", "url")),
        ("audiences: [a, 1]", string("number", "audiences")),
        ("url: {}", string("object", "url")),
        ("url: []", string("array", "url")),
        ("url: .inf", Some("json: unsupported value: +Inf".to_owned())),
        ("url: !!int a", Some("yaml: cannot decode !!str `a` as a !!int".to_owned())),
    ] {
        let got = with_head(&format!("jwt:\n- issuer:\n    {issuer}\n"));
        assert_eq!(got.err(), want, "{issuer}");
    }
}

#[test]
fn strictness() {
    for (rest, want) in [
        (
            "jwt: []\njwt: []\n",
            "strict decoding error: yaml: unmarshal errors:\n  line 4: key \"jwt\" already set in map",
        ),
        (
            "z: 1\na: 2\njwt: []\n", // the keys are sorted before they are looked at
            "strict decoding error: unknown field \"a\", unknown field \"z\"",
        ),
        (
            "a: 1\njwt: []\njwt: []\n",
            "strict decoding error: yaml: unmarshal errors:\n  line 5: key \"jwt\" already set in map, unknown field \"a\"",
        ),
        (
            "jwt:\n- issuer: {url: a, URL: b}\n",
            "strict decoding error: unknown field \"jwt[0].issuer.URL\"",
        ),
        ("1: a\n", "strict decoding error: unknown field \"1\""),
        ("~: a\n", "unsupported map key of type: %!s(<nil>), key: <nil>, value: \"a\""),
        ("[a]: b\n", "yaml: invalid map key: []interface {}{\"a\"}"),
    ] {
        assert_eq!(with_head(rest).err().as_deref(), Some(want), "{rest}");
    }
}

#[test]
fn aliases_and_merges() {
    let config = with_head(
        "jwt:\n- issuer: &issuer {url: https://a, audiences: &audiences [x]}\n\
         - issuer:\n    <<: *issuer\n    discoveryURL: https://b\n\
         - issuer: {audiences: *audiences}\n",
    )
    .expect("a file");
    let urls: Vec<&str> = config.jwt.iter().map(|jwt| jwt.issuer.url.as_str()).collect();
    assert_eq!(urls, ["https://a", "https://a", ""]);
    assert!(config.jwt.iter().all(|jwt| jwt.issuer.audiences == ["x"]));

    for (rest, want) in [
        ("jwt: *a\n", "yaml: line 3: found unknown anchor"),
        ("jwt: &a [*a]\n", "yaml: anchor value contains itself"),
        ("<<: 1\n", "yaml: map merge requires map or sequence of maps as the value"),
        ("<<: [1]\n", "yaml: map merge requires map or sequence of maps as the value"),
        (
            "<<: {jwt: []}\njwt: []\n",
            "strict decoding error: yaml: unmarshal errors:\n  line 4: key \"jwt\" already set in map",
        ),
    ] {
        assert_eq!(with_head(rest).err().as_deref(), Some(want), "{rest}");
    }
}

/// A file that grows by its aliases is refused before it has grown.
#[test]
fn billion_laughs() {
    let mut lines = vec![format!("{HEAD}a: &a [x,x,x,x,x,x,x,x,x]\n")];
    for (name, before) in ["b", "c", "d", "e", "f", "g", "h"].iter().zip("abcdefg".chars()) {
        let aliases = vec![format!("*{before}"); 9].join(",");
        lines.push(format!("{name}: &{name} [{aliases}]\n"));
    }
    let error = load(&lines.concat()).err();
    assert_eq!(error.as_deref(), Some("yaml: document contains excessive aliasing"));
}

#[test]
fn other_files() {
    let not_an_object = "couldn't get version/kind; json parse error: json: cannot unmarshal string, the file must be an object with apiVersion and kind";
    for (file, want) in [
        ("", "empty config data"),
        ("\n", "Object 'Kind' is missing in '\n'"),
        ("# nothing\n", "Object 'Kind' is missing in '# nothing\n'"),
        ("text\n", not_an_object),
        ("a: b: c\n", "yaml: line 1: mapping values are not allowed in this context"),
        ("a: \u{1}\n", "yaml: control characters are not allowed"),
        ("a: \u{2028}\n", "yaml: line ends other than LF and CR are not supported"),
        (
            " {a: b}",
            "couldn't get version/kind; json parse error: invalid character 'a' looking for beginning of object key string",
        ),
    ] {
        assert_eq!(load(file).err().as_deref(), Some(want), "{file:?}");
    }
    assert_eq!(
        decode_yaml(b"a: \xff").map_err(|error| error.to_string()).err().as_deref(),
        Some("yaml: invalid UTF-8")
    );
    let deep = format!("{HEAD}jwt:\n  {}", "- ".repeat(1000));
    assert_eq!(load(&deep).err().as_deref(), Some("yaml: exceeded max depth of 100"));
}

/// Only the first document counts, as upstream.
#[test]
fn further_documents_are_not_read() {
    let config = with_head("jwt: []\n---\nfoo: [\n");
    assert_eq!(config.map(|config| config.jwt), Ok(Vec::new()));
}
