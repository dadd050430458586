//! Expressions against the recorded answers of kube-apiserver's own compiler (tests/conformance), for each version of it: refusals,
//! types, values, errors, what the mapper makes of a value, and cost.
//!
//! `CEL_ANSWERS` may name a file with more answers about the same claims, of the version that `CEL_RULES` names (1.37): a long run over
//! random expressions needs no other program.
#![expect(clippy::disallowed_methods, reason = "a test may read more answers from a file")]

use std::collections::BTreeMap;

use apiserver_cel::{Environment, Evaluated, List, Program, Rules, UserInfo, Value};
use go_compat::json;
use serde_json::{Value as Json, json as tag};

// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[path = "support/page.rs"]
mod page;

const UNDEFINED_TYPE: &str = "refused by both, here by the checker already: the name of a type that upstream knows and cannot use";
const MESSAGE: &str =
    "refused here at load, upstream at each evaluation: a literal of a message type";

/// Expressions whose answers differ, and why.
const DIFFERENCES: [(&str, &str); 15] = [
    ("timestamp", UNDEFINED_TYPE),
    ("duration", UNDEFINED_TYPE),
    ("google.protobuf.Any", UNDEFINED_TYPE),
    ("google.protobuf.Struct", UNDEFINED_TYPE),
    ("kubernetes.UserInfo{username: 'x'}", MESSAGE),
    ("kubernetes.UserInfo{}", MESSAGE),
    ("lists.range(0)", REGRESSION),
    ("'a,b'.split(',').reverse()", REGRESSION),
    ("'a,b'.split(',').slice(0, 1)", REGRESSION),
    ("user.groups.reverse()", REGRESSION),
    ("user.groups.slice(0, 1)", REGRESSION),
    ("'a,b,c'.split(',').slice(0, 2)", REGRESSION),
    ("'a,b,c'.split(',').reverse()", REGRESSION),
    ("'a b'.findAll('[a-z]').slice(0, 1)", REGRESSION),
    ("dyn([])[[]]", GO_TYPE),
];

const REGRESSION: &str = "the mapping takes groups here that it refuses upstream: the regression of 1.38.0-beta.0 that is not followed";
const GO_TYPE: &str = "refused by both, with another name of a Go type in the words";

const SAME_VALUE: &str = "same type, value and cost";
const SAME_ERROR: &str = "same type, and the same error when evaluated";
const REFUSED: &str = "refused by both compilers";

const CORPORA: [(&str, &str); 15] = [
    ("claims", include_str!("../../../tests/conformance/cel/claims.jsonl")),
    ("conversions", include_str!("../../../tests/conformance/cel/conversions.jsonl")),
    ("examples", include_str!("../../../tests/conformance/cel/examples.jsonl")),
    ("kubernetes", include_str!("../../../tests/conformance/cel/kubernetes.jsonl")),
    ("lists", include_str!("../../../tests/conformance/cel/lists.jsonl")),
    ("macros", include_str!("../../../tests/conformance/cel/macros.jsonl")),
    ("net", include_str!("../../../tests/conformance/cel/net.jsonl")),
    ("operators", include_str!("../../../tests/conformance/cel/operators.jsonl")),
    ("optionals", include_str!("../../../tests/conformance/cel/optionals.jsonl")),
    ("regex", include_str!("../../../tests/conformance/cel/regex.jsonl")),
    ("strings", include_str!("../../../tests/conformance/cel/strings.jsonl")),
    ("syntax", include_str!("../../../tests/conformance/cel/syntax.jsonl")),
    ("types", include_str!("../../../tests/conformance/cel/types.jsonl")),
    ("user", include_str!("../../../tests/conformance/cel/user.jsonl")),
    ("versions", include_str!("../../../tests/conformance/cel/versions.jsonl")),
];
/// What other versions answer, as far as it is not what the version before answers.
const OVERLAYS: [(Rules, &str); 2] = [
    (Rules::V1_37, include_str!("../../../tests/conformance/cel/1.37.jsonl")),
    (Rules::V1_38, include_str!("../../../tests/conformance/cel/1.38.jsonl")),
];
const CLAIMS: &str = include_str!("../../../tests/conformance/cel/claims.json");
const USER: &str = include_str!("../../../tests/conformance/cel/user.json");

/// Who the expressions about `user` are about.
struct User {
    username: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

#[test]
fn expressions_do_what_they_do_in_kube_apiserver() {
    let replay = Replay::new();
    let replayed = Rules::ALL.map(|rules| {
        let counts = replay.answers(rules);
        assert!(counts.compared >= 3000, "the corpus has {} expressions", counts.compared);
        counts
    });
    let classes = [SAME_VALUE, SAME_ERROR, REFUSED, UNDEFINED_TYPE, MESSAGE, REGRESSION, GO_TYPE];
    let rows = classes.map(|class| {
        let count = |counts: &Counts| counts.classes.get(class).copied().unwrap_or(0);
        (class, replayed.each_ref().map(count))
    });
    let compared = ("compared", replayed.each_ref().map(|counts| counts.compared));
    let table = page::table(
        "expressions",
        Rules::ALL.map(Rules::compared_with),
        [compared].into_iter().chain(rows),
    );
    page::check("expressions", &table);
}

#[test]
fn more_expressions_do_what_they_do_in_kube_apiserver() {
    let Some(path) = std::env::var_os("CEL_ANSWERS") else { return };
    let answers = std::fs::read_to_string(path).expect("CEL_ANSWERS names a file");
    let rules = std::env::var("CEL_RULES")
        .map_or(Rules::default(), |rules| rules.parse().expect("CEL_RULES is a version"));
    let lines = answers.lines().map(|line| ("CEL_ANSWERS", parsed(line)));
    Replay::new().compare(rules, lines);
}

struct Replay {
    claims: json::Object,
    user: User,
}

/// How many answers are of which class.
#[derive(Default)]
struct Counts {
    compared: usize,
    classes: BTreeMap<&'static str, usize>,
}

impl Replay {
    fn new() -> Self {
        let limits = json::Limits { depth: 100, values: 100_000 };
        let json::Value::Object(claims) =
            json::parse(CLAIMS.as_bytes(), limits).expect("claims are JSON")
        else {
            panic!("claims are an object");
        };
        Self { claims, user: user() }
    }

    /// Replays what a version answers: the first version's answers, and what changed since.
    fn answers(&self, rules: Rules) -> Counts {
        let changed: BTreeMap<Question, Json> = OVERLAYS
            .into_iter()
            .filter(|(since, _)| *since <= rules)
            .flat_map(|(_, answers)| answers.lines().map(parsed))
            .map(|answer| (question(&answer), answer))
            .collect();
        let answers = CORPORA.into_iter().flat_map(|(corpus, answers)| {
            answers.lines().map(parsed).map(move |answer| (corpus, answer))
        });
        let answers = answers.map(|(corpus, answer)| {
            let changed = changed.get(&question(&answer)).cloned();
            (corpus, changed.unwrap_or(answer))
        });
        self.compare(rules, answers)
    }

    #[track_caller]
    fn compare<'c>(&self, rules: Rules, answers: impl Iterator<Item = (&'c str, Json)>) -> Counts {
        let mut differences = Vec::new();
        let mut counts = Counts::default();
        for (corpus, want) in answers {
            counts.compared += 1;
            let (about_user, expression) = question(&want);
            let known = known_difference(&expression, rules);
            let got = self.answer(&expression, about_user, rules);
            let found = compare(&want, &got);
            match (found.is_empty(), known) {
                (true, None) => *counts.classes.entry(agreement(&want)).or_default() += 1,
                (false, Some(reason)) => *counts.classes.entry(reason).or_default() += 1,
                (true, Some(reason)) => {
                    differences
                        .push(format!("{corpus}: {expression}\n  no longer differs: {reason}"));
                }
                (false, None) => {
                    differences.push(format!("{corpus}: {expression}\n  {}", found.join("\n  ")));
                }
            }
        }
        assert!(
            differences.is_empty(),
            "{rules}: {} of {} differ:\n{}",
            differences.len(),
            counts.compared,
            differences.join("\n")
        );
        counts
    }

    /// Our answer, in the form of the reference program's.
    fn answer(&self, expression: &str, about_user: bool, rules: Rules) -> Json {
        let environment = if about_user { Environment::User } else { Environment::Claims };
        let program = match apiserver_cel::compile(expression, environment, rules) {
            Ok(program) => program,
            Err(error) => return tag!({ "compileError": error.to_string() }),
        };
        let User { username, uid, groups, extra } = &self.user;
        let user = UserInfo { username, uid, groups, extra };
        let evaluated = self.evaluate(&program, about_user.then_some(&user));
        let mut answer = tag!({
            "outputType": program.output_type(),
            "exactlyBool": program.is_exactly_bool(),
            "cost": evaluated.cost,
        });
        match &evaluated.result {
            Err(error) => answer["evalError"] = error.to_string().into(),
            Ok(value) => {
                answer["value"] = tagged(value);
                match value.to_string_list() {
                    Ok(list) => answer["stringList"] = list.into(),
                    Err(error) => answer["stringListError"] = error.to_string().into(),
                }
            }
        }
        answer
    }

    fn evaluate<'a>(&'a self, program: &'a Program, user: Option<&'a UserInfo>) -> Evaluated<'a> {
        match user {
            Some(user) => program.evaluate_user_counted(user),
            None => program.evaluate_counted(&self.claims),
        }
    }
}

fn known_difference(expression: &str, rules: Rules) -> Option<&'static str> {
    let (_, reason) = DIFFERENCES.iter().find(|(known, _)| *known == expression)?;
    let is_new = [REGRESSION, GO_TYPE].contains(reason);
    (!is_new || rules == Rules::V1_38).then_some(*reason)
}

fn parsed(line: &str) -> Json {
    serde_json::from_str(line).expect("an answer is JSON")
}

/// Whether it is about the user, and the expression.
type Question = (bool, String);

fn question(answer: &Json) -> Question {
    let expression = answer["expr"].as_str().expect("an answer repeats its question");
    (answer["env"] == "user", expression.to_owned())
}

/// In what both agree.
fn agreement(want: &Json) -> &'static str {
    match (&want["compileError"], &want["evalError"]) {
        (Json::Null, Json::Null) => SAME_VALUE,
        (Json::Null, _) => SAME_ERROR,
        _ => REFUSED,
    }
}

fn user() -> User {
    let user: Json = serde_json::from_str(USER).expect("the user is JSON");
    let strings = |list: &Json| -> Vec<String> {
        serde_json::from_value(list.clone()).expect("a list of strings")
    };
    let extra = user["extra"].as_object().expect("extra is an object");
    User {
        username: user["username"].as_str().expect("a string").to_owned(),
        uid: user["uid"].as_str().expect("a string").to_owned(),
        groups: strings(&user["groups"]),
        extra: extra.iter().map(|(key, values)| (key.clone(), strings(values))).collect(),
    }
}

/// What is different. Of a compiler's message only how it begins counts; of one about a constant part all of it, and of an internal
/// error that it is one.
fn compare(want: &Json, got: &Json) -> Vec<String> {
    // Upstream's compiler falls over in a few places; ours must refuse, in whatever words.
    let fell_over = want["compileError"].as_str().is_some_and(|error| error.starts_with("panic: "));
    if fell_over && got["compileError"].is_string() {
        return Vec::new();
    }
    if refusal(want) != refusal(got) {
        return vec![format!("want {}\n  got  {}", shown(want), shown(got))];
    }
    ["outputType", "exactlyBool", "evalError", "value", "stringList", "stringListError", "cost"]
        .into_iter()
        .filter(|field| match (*field, is_internal(&want["evalError"])) {
            ("evalError", true) => !is_internal(&got["evalError"]),
            _ => !same(&want[*field], &got[*field]),
        })
        .map(|field| format!("{field}: want {}, got {}", want[field], got[field]))
        .collect()
}

/// Whether upstream fell over: what Go then says of its own types is of no use to anybody.
fn is_internal(error: &Json) -> bool {
    error.as_str().is_some_and(|error| error.starts_with("internal error: "))
}

fn refusal(answer: &Json) -> Option<&str> {
    answer["compileError"].as_str().map(granularity)
}

fn shown(answer: &Json) -> String {
    match answer["compileError"].as_str() {
        Some(error) => error.lines().next().unwrap_or_default().to_owned(),
        None => format!("{} {}{}", answer["outputType"], answer["value"], answer["evalError"]),
    }
}

fn granularity(error: &str) -> &str {
    match error.strip_prefix("compilation failed: ") {
        Some(_) => "compilation failed",
        None => error,
    }
}

/// An absent list is an empty one, an absent flag is false, and a double is compared as one.
fn same(want: &Json, got: &Json) -> bool {
    match (want, got) {
        (Json::Null, Json::Array(list)) => list.is_empty(),
        (Json::Null, Json::Bool(false)) => true,
        (Json::Number(a), Json::Number(b)) => a.as_f64() == b.as_f64(),
        (Json::Array(a), Json::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => want == got,
    }
}

/// A value with its type, as the reference program writes it.
fn tagged(value: &Value) -> Json {
    use base64::{Engine, engine::general_purpose::STANDARD};
    match value {
        Value::Null => tag!({"null": true}),
        Value::Bool(value) => tag!({ "bool": value }),
        Value::Int(value) => tag!({"int": value.to_string()}),
        Value::Uint(value) => tag!({"uint": value.to_string()}),
        Value::Double(value) if value.is_nan() => tag!({"double": "NaN"}),
        Value::Double(value) if value.is_infinite() => {
            tag!({"double": if *value > 0.0 { "+Inf" } else { "-Inf" }})
        }
        Value::Double(value) => tag!({ "double": value }),
        Value::String(text) => tag!({"string": &**text}),
        Value::Bytes(bytes) => tag!({"bytes": STANDARD.encode(bytes)}),
        Value::Timestamp(time) => tag!({"timestamp": time.format_utc()}),
        Value::Duration(nanos) => tag!({"duration": nanos.to_string()}),
        Value::Type(name) => tag!({ "type": name }),
        Value::Optional(None) => tag!({ "optional": null }),
        Value::Optional(Some(value)) => tag!({"optional": tagged(value)}),
        Value::Ip(ip) => tag!({"ip": ip.to_string()}),
        Value::Cidr(cidr) => tag!({"cidr": cidr.to_string()}),
        Value::Url(url) => tag!({"url": url.to_string()}),
        Value::Semver(version) => tag!({"semver": version.to_string()}),
        // How a quantity is written is of no use to an expression and not kept.
        Value::Quantity(_) => tag!({"quantity": true}),
        Value::Format(format) => tag!({"format": format.name()}),
        Value::List(list) => tag!({"list": items(list)}),
        Value::Map(map) if map.is_variable() => tag!({"object": map.type_name()}),
        Value::Map(map) => {
            let pairs = map.entries();
            let mut entries: Vec<[Json; 2]> =
                pairs.iter().map(|(key, value)| [tagged(key), tagged(value)]).collect();
            entries.sort_by_key(|[key, _]| key.to_string());
            tag!({ "map": entries })
        }
    }
}

fn items(list: &List) -> Vec<Json> {
    list.by_position().map(|item| tagged(&item)).collect()
}
