//! What stands around a filter: Envoy's `match_delegate`, which can keep requests and answers from it.
//!
//! Around the Wasm filter it may keep answers out of the VM that the filter has nothing to say to. What it keeps from the filter once, it
//! keeps from it for the rest of the stream.

use gateway_core::stream::{ANSWER, Mark};

use crate::{
    finding::{Findings, Rule},
    form::{self, Form},
    model::Filter,
    node::Node,
};

/// The message of `match_delegate`.
const DELEGATE: &str = "ExtensionWithMatcher";
/// The answers that the filter need not see.
const ORDINARY: &str = "2xx";

/// The configuration of the code that a filter runs, if this one stands around it.
pub fn inner<'a>(around: &Node<'a>) -> Option<Node<'a>> {
    let of_delegate = around.type_name() == DELEGATE;
    let inner = of_delegate.then(|| around.at(&["extension_config", "typed_config"]))??;
    form::of(&inner).map(|_| inner)
}

/// What stands around the gateway's filter, and whether Envoy calls it for everything.
pub fn check(gateway: &Filter<'_>, findings: &mut Findings) {
    check_called(gateway, findings);
    let Some(around) = &gateway.around else { return };
    if gateway.form() != Some(Form::Wasm) {
        let message = "the native filter does not say which answers it must see";
        findings.add(Rule::Skipped, around, message);
    } else if !is_for_answers(around).unwrap_or_default() {
        let message = "more is kept from the filter than answers of 2xx that it has not asked for";
        findings.add(Rule::Skipped, around, message);
    }
}

/// A filter that has to see everything.
pub fn check_none(filter: &Filter<'_>, findings: &mut Findings) {
    check_called(filter, findings);
    if let Some(around) = &filter.around {
        findings.add(Rule::Skipped, around, "requests or answers are kept from this filter");
    }
}

/// A module is not called for what is not among its capabilities, once any are named.
fn check_called(filter: &Filter<'_>, findings: &mut Findings) {
    let restriction = filter.config.at(&["config", "capability_restriction_config"]);
    if let Some(restriction) = restriction
        && !restriction.fields("allowed_capabilities").is_empty()
    {
        let message = "Envoy calls the filter for nothing but what is named here";
        findings.add(Rule::Skipped, &restriction, message);
    }
}

/// Whether it keeps nothing from the filter but ordinary answers that it has not asked for. A status is not there before the answer, so
/// that a matcher which asks for it first keeps no request from the filter.
fn is_for_answers(around: &Node<'_>) -> Option<bool> {
    let matcher = around.get("xds_matcher")?;
    let tree = matcher.get("matcher_tree")?;
    let classes = tree.get("exact_match_map")?.fields("map");
    let [(ORDINARY, ordinary)] = &classes[..] else { return None };
    let nested = ordinary.get("matcher")?;
    let matchers = nested.get("matcher_list")?.items("matchers");
    let [only] = &matchers[..] else { return None };
    let state = only.at(&["predicate", "not_matcher", "single_predicate"])?;
    let input = state.at(&["input", "typed_config"])?;
    let skips = only.at(&["on_match", "action", "typed_config"])?.type_name() == "SkipFilter";
    let by_status = tree.at(&["input", "typed_config"])?.type_name();
    let elsewhere = [
        around.get("matcher"),
        matcher.get("on_no_match"),
        nested.get("on_no_match"),
        tree.get("prefix_match_map"),
        tree.get("custom_match"),
    ];
    Some(
        skips
            && by_status == "HttpResponseStatusCodeClassMatchInput"
            && input.type_name() == "FilterStateInput"
            && input.text("key") == Some(Mark::Answer.filter_state())
            // Beside its type. A part of the state (`field`) is another one.
            && input.children().len() == 2
            && state.get("value_match")?.text("exact") == Some(ANSWER)
            && elsewhere.iter().all(Option::is_none),
    )
}
