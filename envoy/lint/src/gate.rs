//! The gate: no mark of the filter, no way on.

use serde_json::{Value, json};

use crate::{
    chain::Chain,
    finding::{Findings, Rule},
    form::Form,
    node::Node,
};

/// The headers that go out, and the marks that they must equal.
const COMPARED: [(&str, &str); 3] = [
    ("impersonate-user", "wasm.user"),
    ("impersonate-group", "wasm.groups"),
    ("impersonate-uid", "wasm.uid"),
];

pub fn check(chain: &Chain<'_>, reads_impersonation: bool, findings: &mut Findings) {
    let Some(gate) = &chain.gate else { return };
    let form = chain.gateway.form().unwrap_or(Form::Wasm);
    let Some(policies) = allowing(&gate.config) else {
        let message = "its rules are absent, or not of action ALLOW";
        findings.add(Rule::OpenGate, &gate.config, message);
        return;
    };
    for (_, policy) in policies {
        if !demands(&policy, "wasm.user", None) {
            findings.add(Rule::OpenGate, &policy, "a principal does not demand wasm.user");
        }
        if reads_impersonation && !compares(&policy, form) {
            findings.add(Rule::GateComparison, &policy, "what goes out is not compared");
        }
    }
}

/// The policies of an RBAC filter that lets nothing pass but by them; `None` if it lets other things pass, or what it does
/// cannot be said.
pub fn allowing<'a>(config: &Node<'a>) -> Option<Vec<(&'a str, Node<'a>)>> {
    let rules = config.get("rules").filter(|_| config.get("matcher").is_none())?;
    // ALLOW is protobuf's default.
    (rules.text("action").unwrap_or("ALLOW") == "ALLOW").then(|| rules.fields("policies"))
}

/// Whether every principal of a policy demands filter state under `key`: `exact`, or any that is not empty.
pub fn demands(policy: &Node<'_>, key: &str, exact: Option<&str>) -> bool {
    let principals = policy.items("principals");
    !principals.is_empty() && principals.iter().all(|it| principal_demands(it, key, exact))
}

fn principal_demands(principal: &Node<'_>, key: &str, exact: Option<&str>) -> bool {
    if let Some(all) = principal.get("and_ids") {
        return all.items("ids").iter().any(|it| principal_demands(it, key, exact));
    }
    let Some(state) = principal.get("filter_state") else { return false };
    let Some(matcher) = state.get("string_match") else { return false };
    let fits = match exact {
        Some(exact) => matcher.text("exact") == Some(exact),
        None => is_not_empty(&matcher),
    };
    fits && state.text("key") == Some(key)
}

/// Whether a string matcher refuses the empty string, as far as can be seen.
pub fn is_not_empty(matcher: &Node<'_>) -> bool {
    let regex = matcher.get("safe_regex").and_then(|it| it.text("regex"));
    regex == Some(".+")
        || ["exact", "prefix", "suffix", "contains"]
            .iter()
            .any(|kind| matcher.text(kind).is_some_and(|text| !text.is_empty()))
}

/// Whether the policy's condition is a conjunction that has every comparison.
fn compares(policy: &Node<'_>, form: Form) -> bool {
    let Some(condition) = policy.get("condition") else { return false };
    let mut parts = Vec::new();
    conjuncts(condition.value(), &mut parts);
    COMPARED.iter().all(|(header, mark)| {
        let equal = equality(header, mark, form);
        let absent_or_equal = either(&absence(header), &equal);
        parts.iter().any(|part| **part == equal || **part == absent_or_equal)
    })
}

fn conjuncts<'a>(expression: &'a Value, parts: &mut Vec<&'a Value>) {
    let call = expression.get("call_expr");
    let is_and = call.is_some_and(|it| it.get("function").is_some_and(|name| name == "_&&_"));
    match call.and_then(|it| it.get("args")).and_then(Value::as_array) {
        Some(arguments) if is_and => arguments.iter().for_each(|it| conjuncts(it, parts)),
        _ => parts.push(expression),
    }
}

fn call(function: &str, args: &Value) -> Value {
    json!({"call_expr": {"function": function, "args": args}})
}

fn text(value: &str) -> Value {
    json!({"const_expr": {"string_value": value}})
}

fn identifier(name: &str) -> Value {
    json!({"ident_expr": {"name": name}})
}

fn headers() -> Value {
    json!({"select_expr": {"operand": identifier("request"), "field": "headers"}})
}

/// `request.headers[header] == filter_state[mark]`. A native filter's marks are bytes to CEL, where a text equals no bytes:
/// `bytes(request.headers[header]) == filter_state[mark]`.
fn equality(header: &str, mark: &str, form: Form) -> Value {
    let header = call("_[_]", &json!([headers(), text(header)]));
    let header = match form {
        Form::Wasm => header,
        Form::Native => call("bytes", &json!([header])),
    };
    let mark = call("_[_]", &json!([identifier("filter_state"), text(mark)]));
    call("_==_", &json!([header, mark]))
}

/// `!(header in request.headers)`
fn absence(header: &str) -> Value {
    call("!_", &json!([call("@in", &json!([text(header), headers()]))]))
}

fn either(a: &Value, b: &Value) -> Value {
    call("_||_", &json!([a, b]))
}
