//! Configuration files against the recorded answers of kube-apiserver's loader and validation (tests/conformance), for each version of it.
//! Of a message that goes on with a CEL compiler's words, with a place in Go's source or with a type of Go's, only what stands before that counts.
#![cfg(feature = "yaml")]

use std::collections::BTreeMap;

use kube_authn::{
    Rules,
    config::{self, LoadOptions},
};
use serde_json::Value as Json;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const CORPUS: &str = include_str!("../../../tests/conformance/configs/configs.jsonl");
/// What other versions answer, as far as it is not what the version before answers.
const OVERLAYS: [(Rules, &str); 2] = [
    (Rules::V1_37, include_str!("../../../tests/conformance/configs/1.37.jsonl")),
    (Rules::V1_38, include_str!("../../../tests/conformance/configs/1.38.jsonl")),
];

#[path = "../../cel/tests/support/page.rs"]
mod page;

const SAME_ERRORS: &str = "refused by both, with the same errors in the same order";
const VALID: &str = "valid for both";
const TAB: &str =
    "refused by both: for this YAML parser a tab before the first key is the beginning of a key";
const OTHER_KIND: &str = "refused by both: upstream's scheme also knows the other kinds of configuration files, and misses their fields";

/// Files and reasons.
const DIFFERENCES: &[(&str, &str)] = &[
    ("kind 'AuthorizationConfiguration'", OTHER_KIND),
    ("kind 'EncryptionConfiguration'", OTHER_KIND),
    (
        "mixture 11: groups expression 'claims.email_verified ? claims.email : claims.sub'; kind 'EncryptionConfiguration'",
        OTHER_KIND,
    ),
    (
        "mixture 120: uid expression \"claims['email']\"; jwt [[]]; kind 'EncryptionConfiguration'",
        OTHER_KIND,
    ),
    ("text: tab", TAB),
];

#[test]
fn files_are_refused_as_kube_apiserver_refuses_them() {
    let replayed = Rules::ALL.map(replay);
    let rows = [VALID, SAME_ERRORS, OTHER_KIND, TAB].map(|class| {
        let count = |(_, classes): &(usize, BTreeMap<&str, usize>)| {
            classes.get(class).copied().unwrap_or(0)
        };
        (class, replayed.each_ref().map(count))
    });
    let compared = replayed.each_ref().map(|(compared, _)| *compared);
    let rows = [("compared", compared)].into_iter().chain(rows);
    let columns = Rules::ALL.map(Rules::compared_with);
    page::check("configurations", &page::table("configuration files", columns, rows));
}

/// How many files there are, and how many of each class.
fn replay(rules: Rules) -> (usize, BTreeMap<&'static str, usize>) {
    let parsed = |line| serde_json::from_str::<Json>(line).expect("an answer is JSON");
    let changed: BTreeMap<String, Json> = OVERLAYS
        .into_iter()
        .filter(|(since, _)| *since <= rules)
        .flat_map(|(_, answers)| answers.lines().map(parsed))
        .map(|answer| (answer["name"].as_str().unwrap_or_default().to_owned(), answer))
        .collect();
    let mut differences = Vec::new();
    let mut compared = 0;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for file in CORPUS.lines().map(parsed) {
        let name = file["name"].as_str().expect("a file has a name");
        let want = wanted(changed.get(name).unwrap_or(&file));
        let got = errors(&file, rules);
        compared += 1;
        let known = DIFFERENCES.iter().find(|(known, _)| *known == name);
        match (want == got, known) {
            (true, None) => {
                *counts.entry(if want.is_empty() { VALID } else { SAME_ERRORS }).or_default() += 1;
            }
            (false, Some((_, reason))) => *counts.entry(reason).or_default() += 1,
            (true, Some((_, reason))) => {
                differences.push(format!("{name}\n  no longer differs: {reason}"));
            }
            (false, None) => differences.push(format!("{name}\n  want {want:#?}\n  got  {got:#?}")),
        }
    }
    assert!(compared >= 300, "the corpus has {compared} files");
    assert!(
        differences.is_empty(),
        "{rules}: {} of {compared} differ:\n{}",
        differences.len(),
        differences.join("\n")
    );
    (compared, counts)
}

/// Upstream's errors, each once: those of decoding, or those of validation.
fn wanted(answer: &Json) -> Vec<String> {
    if let Some(load) = answer["load"].as_str() {
        return vec![comparable(load)];
    }
    let mut distinct: Vec<String> = Vec::new();
    for error in answer["errors"].as_array().into_iter().flatten() {
        let text = comparable(error.as_str().expect("an error is a text"));
        if !distinct.contains(&text) {
            distinct.push(text);
        }
    }
    distinct
}

fn errors(answer: &Json, rules: Rules) -> Vec<String> {
    let text = answer["config"].as_str().expect("a file has a text");
    let issuers = answer["serviceAccountIssuers"].as_array().into_iter().flatten();
    let options = LoadOptions {
        disallowed_issuers: issuers.filter_map(Json::as_str).map(str::to_owned).collect(),
        rules,
    };
    let loaded = config::load_yaml(text.as_bytes(), &options);
    let errors = loaded
        .err()
        .map(|errors| errors.iter().map(|error| comparable(&error.to_string())).collect());
    errors.unwrap_or_default()
}

fn comparable(error: &str) -> String {
    // What kube-apiserver goes on with, and what stands here in its place.
    const STABLE: [(&str, &str); 5] = [
        ("compilation failed", ": "),
        ("", " in scheme \""),
        ("", ", only AuthenticationConfiguration of "),
        ("", " into Go value of type struct "),
        ("", ", the file must be an object with "),
    ];
    let stable = STABLE.into_iter().find_map(|(kept, rest)| {
        let at = error.find(&format!("{kept}{rest}"))?;
        error.get(..at + kept.len())
    });
    stable.unwrap_or(error).to_owned()
}
