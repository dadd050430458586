//! Tokens against the recorded answers of kube-apiserver's own authenticators (tests/conformance), for each version of it: whose they are,
//! whether they are taken, and the whole user. Of a refusal's words none count, but it is told how many are the same.
//!
//! `TOKEN_ANSWERS` may name a file with more answers, of the version that `TOKEN_RULES` names (1.37): a long run over another seed needs
//! no other program.
#![expect(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    reason = "a test may read more answers from a file, and shows what it saw"
)]

use std::{collections::BTreeMap, time::Duration};

use kube_authn::Rules;

use self::tokens::{
    Case, DIFFERENCES, NOBODY, OTHER_WORDS, SAME_WORDS, Server, TAKEN, cases, classify, read,
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
    let replayed = Rules::ALL.map(|rules| replay(&cases(rules), rules));
    for Counts { configurations, tokens, .. } in &replayed {
        assert!(*configurations >= 60 && *tokens >= 3000, "{configurations}, {tokens}");
    }
    page::check("tokens", &table(Rules::ALL.map(Rules::compared_with), &replayed));
}

#[test]
fn more_tokens_get_what_kube_apiserver_gives_them() {
    let Some(path) = std::env::var_os("TOKEN_ANSWERS") else { return };
    let answers = std::fs::read_to_string(path).expect("TOKEN_ANSWERS names a file");
    let rules = std::env::var("TOKEN_RULES")
        .map_or(Rules::default(), |rules| rules.parse().expect("TOKEN_RULES is a version"));
    println!("{}", table([rules.as_str()], &[replay(&read(&answers), rules)]));
}

/// How many answers are of which class.
#[derive(Default)]
struct Counts {
    configurations: usize,
    tokens: usize,
    classes: BTreeMap<&'static str, usize>,
}

fn table<const N: usize>(columns: [&str; N], replayed: &[Counts; N]) -> String {
    let classes = [TAKEN, SAME_WORDS, OTHER_WORDS, NOBODY].into_iter().chain(DIFFERENCES);
    let rows = classes.map(|class| {
        let count = |counts: &Counts| counts.classes.get(class).copied().unwrap_or(0);
        (class, replayed.each_ref().map(count))
    });
    let whole = [
        ("configurations", replayed.each_ref().map(|counts| counts.configurations)),
        ("tokens", replayed.each_ref().map(|counts| counts.tokens)),
    ];
    page::table("tokens", columns, whole.into_iter().chain(rows))
}

#[track_caller]
fn replay(cases: &[Case], rules: Rules) -> Counts {
    let mut counts = Counts::default();
    let mut unexplained = Vec::new();
    for case in cases {
        let server = Server::new(case, NOW, rules);
        counts.configurations += 1;
        for bearer in &case.tokens {
            counts.tokens += 1;
            let (name, token) = (&bearer.name, &bearer.token);
            let want = bearer.recorded();
            let got = server.judge(token);
            match classify(&want, &got, token, &server) {
                Some(class) => *counts.classes.entry(class).or_default() += 1,
                None => unexplained.push(format!(
                    "{}: {name}\n  want {want:?}\n  got  {got:?}\n  {token}",
                    case.name
                )),
            }
        }
    }
    assert!(
        unexplained.is_empty(),
        "{rules}: {} of {} differ:\n{}",
        unexplained.len(),
        counts.tokens,
        unexplained.join("\n")
    );
    counts
}
