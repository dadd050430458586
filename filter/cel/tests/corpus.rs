//! Expressions against the recorded answers of kube-apiserver's own compiler (tests/conformance): refusals, types, values,
//! errors, what the mapper makes of a value, and cost.
//!
//! `CEL_ANSWERS` may name a file with more answers about the same claims: a long run over random expressions needs no
//! other program.
#![expect(clippy::disallowed_methods, reason = "a test may read more answers from a file")]

use std::collections::BTreeMap;

use apiserver_cel::{Environment, Evaluated, List, Program, UserInfo, Value};
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
const DIFFERENCES: [(&str, &str); 6] = [
    ("timestamp", UNDEFINED_TYPE),
    ("duration", UNDEFINED_TYPE),
    ("google.protobuf.Any", UNDEFINED_TYPE),
    ("google.protobuf.Struct", UNDEFINED_TYPE),
    ("kubernetes.UserInfo{username: 'x'}", MESSAGE),
    ("kubernetes.UserInfo{}", MESSAGE),
];

const SAME_VALUE: &str = "same type, value and cost";
const SAME_ERROR: &str = "same type, and the same error when evaluated";
const REFUSED: &str = "refused by both compilers";

const CORPORA: [(&str, &str); 14] = [
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
    let limits = json::Limits { depth: 100, values: 100_000 };
    let json::Value::Object(claims) =
        json::parse(CLAIMS.as_bytes(), limits).expect("claims are JSON")
    else {
        panic!("claims are an object");
    };
    let user = user();
    let mut differences = Vec::new();
    let mut compared = 0;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let more = std::env::var_os("CEL_ANSWERS")
        .map(|path| std::fs::read_to_string(path).expect("CEL_ANSWERS names a file"))
        .unwrap_or_default();
    for (corpus, answers) in CORPORA.into_iter().chain([("CEL_ANSWERS", more.as_str())]) {
        for line in answers.lines() {
            let want: Json = serde_json::from_str(line).expect("an answer is JSON");
            compared += 1;
            let expression = want["expr"].as_str().expect("an answer repeats its question");
            let known = DIFFERENCES.iter().find(|(known, _)| *known == expression);
            let got = answer(expression, want["env"] == "user", &claims, &user);
            let found = compare(&want, &got);
            match (found.is_empty(), known) {
                (true, None) => *counts.entry(agreement(&want)).or_default() += 1,
                (false, Some((_, reason))) => *counts.entry(reason).or_default() += 1,
                (true, Some((_, reason))) => {
                    differences
                        .push(format!("{corpus}: {expression}\n  no longer differs: {reason}"));
                }
                (false, None) => {
                    differences.push(format!("{corpus}: {expression}\n  {}", found.join("\n  ")));
                }
            }
        }
    }
    assert!(compared >= 600, "the corpus has {compared} expressions");
    assert!(
        differences.is_empty(),
        "{} of {compared} differ:\n{}",
        differences.len(),
        differences.join("\n")
    );
    if more.is_empty() {
        let classes = [SAME_VALUE, SAME_ERROR, REFUSED, UNDEFINED_TYPE, MESSAGE];
        let rows = classes.map(|class| (class, counts.get(class).copied().unwrap_or(0)));
        let rows = [("compared", compared)].into_iter().chain(rows);
        page::check("expressions", &page::table("expressions", rows));
    }
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

/// Our answer, in the form of the reference program's.
fn answer(expression: &str, about_user: bool, claims: &json::Object, user: &User) -> Json {
    let environment = if about_user { Environment::User } else { Environment::Claims };
    let program = match apiserver_cel::compile(expression, environment) {
        Ok(program) => program,
        Err(error) => return tag!({ "compileError": error.to_string() }),
    };
    let evaluated = evaluate(&program, about_user, claims, user);
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

fn evaluate<'a>(
    program: &'a Program,
    about_user: bool,
    claims: &'a json::Object,
    user: &'a User,
) -> Evaluated<'a> {
    if !about_user {
        return program.evaluate_counted(claims);
    }
    let User { username, uid, groups, extra } = user;
    program.evaluate_user_counted(UserInfo { username, uid, groups, extra })
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
