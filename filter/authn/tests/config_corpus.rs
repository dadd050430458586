//! Configuration files against the recorded answers of kube-apiserver's loader and validation (tests/conformance). Of a CEL
//! compiler's message only how it begins counts.
#![cfg(feature = "yaml")]

use kube_authn::config::{self, LoadOptions};
use serde_json::Value as Json;

mod known;

const CORPUS: &str = include_str!("../../../tests/conformance/configs/configs.jsonl");

#[test]
fn files_are_refused_as_kube_apiserver_refuses_them() {
    let mut differences = Vec::new();
    let mut compared = 0;
    for line in CORPUS.lines() {
        let answer: Json = serde_json::from_str(line).expect("an answer is JSON");
        let name = answer["name"].as_str().expect("a file has a name");
        let want = wanted(&answer);
        let got = errors(&answer);
        compared += 1;
        let known = known::CONFIGURATIONS.iter().find(|(known, _)| *known == name);
        match (want == got, known) {
            (true, None) | (false, Some(_)) => {}
            (true, Some((_, reason))) => {
                differences.push(format!("{name}\n  no longer differs: {reason}"))
            }
            (false, None) => differences.push(format!("{name}\n  want {want:#?}\n  got  {got:#?}")),
        }
    }
    assert!(compared >= 300, "the corpus has {compared} files");
    assert!(
        differences.is_empty(),
        "{} of {compared} differ:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

/// Upstream's errors, each once: those of decoding, or those of validation.
fn wanted(answer: &Json) -> Vec<String> {
    if let Some(load) = answer["load"].as_str() {
        return vec![load.to_owned()];
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

fn errors(answer: &Json) -> Vec<String> {
    let text = answer["config"].as_str().expect("a file has a text");
    let issuers = answer["serviceAccountIssuers"].as_array().into_iter().flatten();
    let options = LoadOptions {
        disallowed_issuers: issuers.filter_map(Json::as_str).map(str::to_owned).collect(),
    };
    let loaded = config::load_yaml(text.as_bytes(), &options);
    let errors = loaded
        .err()
        .map(|errors| errors.iter().map(|error| comparable(&error.to_string())).collect());
    errors.unwrap_or_default()
}

fn comparable(error: &str) -> String {
    const COMPILER: &str = "compilation failed: ";
    match error.find(COMPILER) {
        Some(at) => error[..at + COMPILER.len()].to_owned(),
        None => error.to_owned(),
    }
}
