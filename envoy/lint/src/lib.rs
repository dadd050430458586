//! Whether an Envoy configuration keeps what the filter relies on, for those who put it into an Envoy of their own.
//!
//! The filter decides, but it is the configuration around it that keeps the gateway's credential from a request which the
//! filter did not decide: because it crashed, was skipped, or is wrong. [`lint`] reads a whole bootstrap, with the files that it
//! refers to, and proves that the three doors (`gateway_config`) stand, that nothing leads around them, and that
//! times and limits let watches live. What it cannot see, it reports: silence is a proof.

mod callouts;
mod chain;
mod clusters;
mod conditions;
mod delegate;
mod dump;
pub mod envoy_version;
mod finding;
mod form;
mod gate;
mod headers;
mod listeners;
mod model;
mod native;
mod node;
mod plugin;
mod portal;
mod probe;
mod routes;
mod sources;
mod together;
mod traces;
mod version;

pub use finding::{Finding, Rule};
pub use sources::{SourceError, Sources};

use finding::Findings;
use model::Model;

/// Every rule that the configuration breaks, in the order of its parts. None: the doors are proven.
#[must_use]
pub fn lint(sources: &Sources) -> Vec<Finding> {
    let mut findings = Findings::default();
    let model = Model::read(sources, &mut findings);
    listeners::check_admin(&model, &mut findings);
    listeners::check_others(&model, &mut findings);
    version::check(sources, &model.bootstrap, &mut findings);
    native::check(sources, &model, &mut findings);
    let mut guarded = 0_usize;
    for manager in &model.managers {
        if portal::identifies(manager) {
            portal::check_identify(manager, &mut findings);
        } else if manager.is_probe() {
            probe::check(manager, &model, &mut findings);
        } else if let Some(filter) = portal::find(manager) {
            guarded += 1;
            portal::check(manager, filter, &model, &mut findings);
            routes::check_unguarded(manager, &model, &mut findings);
        } else if let Some(chain) = chain::find(manager) {
            guarded += 1;
            listeners::check(manager, &mut findings);
            traces::check(manager, &mut findings);
            chain::check(manager, &chain, &mut findings);
            delegate::check(&chain.gateway, &mut findings);
            let plugin = plugin::check(&chain.gateway, &model, &mut findings);
            listeners::check_connections(manager, &chain.gateway, &plugin, &mut findings);
            gate::check(&chain, plugin.reads_impersonation, &mut findings);
            headers::check_strip(&chain, plugin.reads_impersonation, &mut findings);
            conditions::check(manager, &plugin, &mut findings);
            routes::check(manager, &model, &mut findings);
        } else {
            routes::check_unguarded(manager, &model, &mut findings);
        }
    }
    if guarded == 0 {
        findings.add(
            Rule::NoFilter,
            &model.bootstrap,
            "no HTTP connection manager runs the filter",
        );
    }
    clusters::check(&model, &mut findings);
    callouts::check(&model, sources, &mut findings);
    traces::check_collectors(&model, sources, &mut findings);
    together::check(&model, &mut findings);
    findings.into_vec()
}

/// What may be wrong, and depends on what stands around Envoy.
#[must_use]
pub fn warnings(sources: &Sources) -> Vec<String> {
    let model = Model::read(sources, &mut Findings::default());
    conditions::warnings(&model)
}
