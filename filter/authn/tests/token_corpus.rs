//! Tokens against the recorded answers of kube-apiserver's own authenticators (tests/conformance): whose they are, whether
//! they are taken, and the whole user. Of a refusal's words none count, but it is told how many are the same.
//!
//! `TOKEN_ANSWERS` may name a file with more answers: a long run over another seed needs no other program.
#![expect(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    reason = "a test may read more answers from a file, and shows what it saw"
)]

use std::{collections::BTreeMap, time::Duration};

use self::tokens::{
    CORPUS, Case, DIFFERENCES, NOBODY, OTHER_WORDS, SAME_WORDS, Server, TAKEN, classify,
};

// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[path = "../../cel/tests/support/page.rs"]
mod page;
#[path = "support/tokens.rs"]
mod tokens;

/// When all of it takes place; see the generator's clock.
const NOW: Duration = Duration::from_secs(4_000_000_000);

#[test]
fn tokens_get_what_kube_apiserver_gives_them() {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut unexplained = Vec::new();
    let (mut configurations, mut compared) = (0, 0);
    let more = std::env::var_os("TOKEN_ANSWERS")
        .map(|path| std::fs::read_to_string(path).expect("TOKEN_ANSWERS names a file"));
    for line in more.as_deref().unwrap_or(CORPUS).lines() {
        let case: Case = serde_json::from_str(line).expect("an answer is JSON");
        let server = Server::new(&case, NOW);
        configurations += 1;
        for bearer in &case.tokens {
            compared += 1;
            let (name, token) = (&bearer.name, &bearer.token);
            let want = bearer.recorded();
            let got = server.judge(token);
            match classify(&want, &got, token, &server) {
                Some(class) => *counts.entry(class).or_default() += 1,
                None => unexplained.push(format!(
                    "{}: {name}\n  want {want:?}\n  got  {got:?}\n  {token}",
                    case.name
                )),
            }
        }
    }
    assert!(
        unexplained.is_empty(),
        "{} of {compared} differ:\n{}",
        unexplained.len(),
        unexplained.join("\n")
    );
    let rows = [("configurations", configurations), ("tokens", compared)].into_iter().chain(
        [TAKEN, SAME_WORDS, OTHER_WORDS, NOBODY]
            .into_iter()
            .chain(DIFFERENCES)
            .map(|class| (class, counts.get(class).copied().unwrap_or(0))),
    );
    let text = page::table("tokens", rows);
    if more.is_some() {
        println!("{text}");
        return;
    }
    assert!(configurations >= 60 && compared >= 3000, "{configurations}, {compared}");
    page::check("tokens", &text);
}
