//! docs/gateway-configuration.md, of the types of `gateway_core::config` and their descriptions.

use std::fmt::Write;

use gateway_core::config::{API_VERSION, GatewayConfiguration, KIND};
use serde_json::Value;

const HEAD: &str = "# GatewayConfiguration: every field

<!-- Generated from the types of gateway_core::config; UPDATE_DOCS=1 cargo test -p kube-oidc-gateway --test docs -->

What the gateway does beyond authentication. Every field has a default, and the document may be left out. An unknown field, or
one that stands twice, is an error that names it. [configuration.md](configuration.md) has the same with examples.
";

#[test]
fn the_reference_is_what_the_types_say() {
    super::hold("docs/gateway-configuration.md", &reference());
}

/// Where the effect of each field is seen: a file of tests that names the field, and the test.
const HELD: &[(&str, &str, &str)] = &[
    ("impersonation", WORKER, "without_impersonation_the_token_itself_travels_on"),
    ("corsAllowedOrigins", WORKER, "pages_of_allowed_origins_may_ask"),
    ("clientImpersonation", REVIEWS, "reject_names_the_header_but_not_to_strangers"),
    ("allowedReserved.groups", GUARD, "rules"),
    ("allowedReserved.users", GUARD, "rules"),
    (
        "distributedGroups.hosts",
        GROUPS,
        "distributed_groups_come_from_allowed_hosts_or_the_token_gives_nothing",
    ),
    ("extras.clientIP", EXTRAS, "configured_extras_and_the_client_s_address_travel"),
    ("extras.credentialId", WORKER, "a_good_token_becomes_an_identity"),
    ("extras.headers", EXTRAS, "configured_extras_and_the_client_s_address_travel"),
    ("keySets.defaultLifetimeSeconds", FRESHNESS, "the_bounds_are_those_of_the_configuration"),
    ("keySets.maximumBytes", NUMBERS, "key_sets_and_headers_are_bounded_as_configured"),
    ("keySets.maximumLifetimeSeconds", FRESHNESS, "the_bounds_are_those_of_the_configuration"),
    ("keySets.maximumOutageSeconds", KEY_SETS, "only_bounds_that_are_set_end_keys"),
    ("keySets.maximumWithdrawnSeconds", KEY_SETS, "only_bounds_that_are_set_end_keys"),
    ("keySets.minimumLifetimeSeconds", FRESHNESS, "the_bounds_are_those_of_the_configuration"),
    (
        "keySets.minimumRefetchSeconds",
        OUTAGES,
        "ten_thousand_random_key_ids_cause_no_more_fetches_than_the_interval_allows",
    ),
    ("keySets.timeoutSeconds", OUTAGES, "a_sick_issuer_holds_nobody_else_up"),
    (
        "kubernetesRules",
        "filter/core/src/config.rs",
        "the_kubernetes_rules_reach_the_authenticators",
    ),
    ("limits.groups", WORKER, "what_is_refused_and_how"),
    ("limits.headerBytes", NUMBERS, "key_sets_and_headers_are_bounded_as_configured"),
    ("limits.signatureChecksPerSecond", CHECKS, "break_in_7_a_client_may_cause_few_costly_checks"),
    ("limits.tokenBytes", WORKER, "what_is_refused_and_how"),
    ("limits.waitSeconds", OUTAGES, "a_sick_issuer_holds_nobody_else_up"),
    ("limits.waitingRequests", KEYS, "waiting_is_bounded_in_time_and_number"),
    (
        "originalUser.enabled",
        "filter/core/src/impersonation.rs",
        "the_original_user_travels_as_extras_and_the_wanted_uid_arrives",
    ),
    (
        "originalUser.prefix",
        "tests/tests/e2e/modes/least.rs",
        "the_constrained_form_works_too_and_refuses_what_it_says",
    ),
    ("reviews.cacheSeconds", NUMBERS, "reviews_take_the_configured_time_and_number"),
    ("reviews.maximumBytes", NUMBERS, "answers_take_no_more_memory_than_configured"),
    ("reviews.maximumValues", NUMBERS, "reviews_take_the_configured_time_and_number"),
    ("reviews.timeoutSeconds", NUMBERS, "reviews_take_the_configured_time_and_number"),
    (
        "reviews.tokenReviewsPerSecond",
        REVIEWS,
        "a_storm_of_bad_tokens_does_not_storm_the_api_server",
    ),
    (
        "sharedSecret.audience",
        SHARED,
        "a_shared_secrets_token_is_taken_only_where_it_is_configured",
    ),
    (
        "sharedSecret.insecureShortSecret",
        "envoy/program/tests/cli.rs",
        "break_in_11_a_short_shared_secret_needs_its_field",
    ),
    (
        "sharedSecret.secretFiles",
        SHARED,
        "a_shared_secrets_token_is_taken_only_where_it_is_configured",
    ),
    ("streamExpiry.graceSeconds", WORKER, "streams_are_cut_where_the_configuration_says_so"),
    ("streamExpiry.logs", EXPIRY, "streams_end_with_their_token_where_they_are_cut"),
    ("streamExpiry.upgrades", EXPIRY, "streams_end_with_their_token_where_they_are_cut"),
    ("streamExpiry.watches", EXPIRY, "streams_end_with_their_token_where_they_are_cut"),
    (
        "tokenCache.maximumBytes",
        NUMBERS,
        "the_token_cache_is_as_large_and_lives_as_long_as_configured",
    ),
    (
        "tokenCache.maximumEntries",
        NUMBERS,
        "the_token_cache_is_as_large_and_lives_as_long_as_configured",
    ),
    (
        "tokenCache.timeToLiveSeconds",
        NUMBERS,
        "the_token_cache_is_as_large_and_lives_as_long_as_configured",
    ),
    ("tokenReview.audiences", REVIEWS, "unknown_tokens_are_the_api_servers_own_or_nobodys"),
    ("tokenReview.enabled", REVIEWS, "unknown_tokens_are_the_api_servers_own_or_nobodys"),
];

const SHARED: &str = "tests/tests/program/shared_secret.rs";
const WORKER: &str = "filter/core/src/worker/tests.rs";
const KEYS: &str = "filter/core/src/worker/tests/keys.rs";
const KEY_SETS: &str = "filter/core/src/keys/tests.rs";
const CHECKS: &str = "filter/core/src/worker/tests/checks.rs";
const REVIEWS: &str = "filter/core/src/worker/tests/reviews.rs";
const GROUPS: &str = "filter/core/src/worker/tests/groups.rs";
const NUMBERS: &str = "filter/core/src/worker/tests/numbers.rs";
const FRESHNESS: &str = "filter/core/src/keys/freshness.rs";
const OUTAGES: &str = "tests/tests/e2e/outages.rs";
const EXTRAS: &str = "tests/tests/e2e/modes/extras.rs";
const EXPIRY: &str = "tests/tests/e2e/modes/expiry.rs";
const GUARD: &str = "filter/core/src/guard.rs";

#[test]
fn every_field_is_held_by_a_test() {
    let schema = GatewayConfiguration::schema();
    let mut fields = Vec::new();
    for (name, field) in schema["properties"].as_object().unwrap() {
        match target(&schema, field)["properties"].as_object() {
            Some(inner) => fields.extend(inner.keys().map(|inner| format!("{name}.{inner}"))),
            None => fields.push(name.clone()),
        }
    }
    fields.sort_unstable();
    let mut held: Vec<_> = HELD.iter().map(|(field, ..)| (*field).to_owned()).collect();
    held.sort_unstable();
    assert_eq!(held, fields);
    for (field, file, function) in HELD {
        let text = std::fs::read_to_string(super::root().join(file)).unwrap();
        assert!(text.contains(&format!("fn {function}(")), "{file}: no {function}");
        let name = field.rsplit('.').next().unwrap();
        let in_rust = name.chars().fold(String::new(), |all, c| match c {
            'A'..='Z' => format!("{all}_{}", c.to_ascii_lowercase()),
            c => format!("{all}{c}"),
        });
        assert!(text.contains(name) || text.contains(&in_rust), "{file} does not name {field}");
    }
}

fn reference() -> String {
    let schema = GatewayConfiguration::schema();
    let defaults = serde_json::to_value(GatewayConfiguration::default()).unwrap();
    let mut text = format!("{HEAD}\n```yaml\napiVersion: {API_VERSION}\nkind: {KIND}\n```\n");
    let of_top = |name: &str, field: &Value| (name.to_owned(), field.clone());
    let fields: Vec<_> =
        schema["properties"].as_object().unwrap().iter().map(|(n, f)| of_top(n, f)).collect();
    for (name, field) in fields {
        let meaning = description(&field);
        let target = target(&schema, &field);
        write!(text, "\n## `{name}`\n\n{meaning}\n\n").unwrap();
        if let Some(properties) = target["properties"].as_object() {
            text.push_str("| field | default | allowed | meaning |\n|---|---|---|---|\n");
            for (inner, field) in properties {
                row(&mut text, &schema, &format!("{name}.{inner}"), field, &defaults[&name][inner]);
            }
        } else {
            text.push_str("| value | meaning |\n|---|---|\n");
            for (value, meaning) in variants(target) {
                let default = if defaults[&name] == value { " (default)" } else { "" };
                writeln!(text, "| `{value}`{default} | {meaning} |").unwrap();
            }
        }
    }
    text
}

fn row(text: &mut String, schema: &Value, path: &str, field: &Value, default: &Value) {
    let target = target(schema, field);
    let configuration = GatewayConfiguration::default();
    let bound = configuration.bounds().into_iter().find(|bound| bound.field == path);
    let variants = variants(target);
    let mut meaning = description(field);
    let allowed = if let Some(bound) = bound {
        bound.rule.to_owned()
    } else if variants.is_empty() {
        kind(target).to_owned()
    } else {
        for (value, what) in &variants {
            write!(meaning, " `{value}`: {what}").unwrap();
        }
        variants.iter().map(|(value, _)| format!("`{value}`")).collect::<Vec<_>>().join(", ")
    };
    let default = match default {
        Value::String(default) => default.clone(),
        default => default.to_string(),
    };
    writeln!(text, "| `{path}` | `{default}` | {allowed} | {meaning} |").unwrap();
}

/// The type behind a reference.
fn target<'a>(schema: &'a Value, field: &'a Value) -> &'a Value {
    match field["$ref"].as_str() {
        Some(reference) => schema.pointer(reference.trim_start_matches('#')).unwrap(),
        None => field,
    }
}

/// The values of an enumeration, each with what it means.
fn variants(kind: &Value) -> Vec<(String, String)> {
    let variants = kind["oneOf"].as_array().cloned().unwrap_or_default();
    variants
        .iter()
        .map(|variant| (variant["const"].as_str().unwrap().to_owned(), description(variant)))
        .collect()
}

fn kind(kind: &Value) -> &'static str {
    match kind["type"].as_str() {
        Some("boolean") => "`true`, `false`",
        Some("array") => "a list of texts",
        Some("object") => "texts, each with a list of texts",
        Some("string") => "a text",
        other => panic!("no word for {other:?}: {kind}"),
    }
}

#[track_caller]
pub fn description(field: &Value) -> String {
    let text = field["description"].as_str().unwrap_or_else(|| panic!("no description: {field}"));
    text.replace('\n', " ").replace('|', "\\|")
}
