//! Groups that are not in the token: which source the gateway asks, what, and what it is told.

use gateway_core::{
    config::{GROUP_SOURCES, When},
    groups::{GroupSources, Source},
};
use go_compat::json::{Object, Value};
use kube_authn::VerifiedToken;
use kube_oidc_gateway::{directory, words::printable};

use super::token::Reviewer;

/// How many groups a line shows.
const SHOWN: usize = 20;

/// The token as the gateway maps it: with the groups of a source, if one is to be asked. Each step is noted.
pub fn with_groups(
    reviewer: &Reviewer<'_>,
    issuer: usize,
    verified: VerifiedToken,
    token: &[u8],
) -> Result<VerifiedToken, String> {
    let gateway = reviewer.gateway;
    let sources =
        GroupSources::new(&gateway.group_sources, gateway.kubernetes_rules, reviewer.configuration)
            .map_err(|error| error.to_string())?;
    let claims = verified.claims();
    let chosen = sources.of(issuer, claims).and_then(|index| sources.get(index));
    if reviewer.asks.is_some() {
        for source in sources.of_issuer(issuer) {
            let is_chosen = chosen.is_some_and(|it| it.name == source.name);
            reviewer.note(format!("groups: {}: {}", source.name, why(source, claims, is_chosen)));
        }
    }
    let Some(source) = chosen else { return Ok(verified) };
    let name = &source.name;
    let question = source
        .question(claims, token)
        .map_err(|error| format!("groupSources {name:?}: {error}"))?;
    let asker = format!("{GROUP_SOURCES}/{name}");
    let callout = reviewer.asks.and_then(|all| all.iter().find(|it| it.asker == asker));
    let Some(callout) = callout else {
        let method = if question.body.is_some() { "POST" } else { "GET" };
        return Err(format!(
            "the groups come from groupSources {name:?}, which is asked by {method} https://{}{}: not done here; review --groups asks",
            source.authority, question.path
        ));
    };
    reviewer.note(format!(
        "groups: {name}: asked by this program's own client, whose TLS and way are not Envoy's: no route leads to Envoy's cluster for it"
    ));
    let found = directory::ask(source, callout, &question, reviewer.now, &mut |step| {
        reviewer.note(format!("groups: {name}: {step}"));
    });
    let found = found.map_err(|error| {
        format!("the gateway would refuse this user with 503 unless it has an earlier answer: groupSources {name:?}: {error}")
    })?;
    reviewer.note(format!("groups: {name}: answered {}", listed(&found.answered)));
    if !source.policy.only.is_empty() {
        reviewer.note(format!("groups: {name}: of these count (only) {}", listed(&found.groups)));
    }
    reviewer.note(format!(
        "groups: {name}: they take the place of the claim {:?}, which claimMappings.groups maps",
        source.claim
    ));
    let value = found.groups.into_iter().map(Value::from).collect();
    Ok(verified.with_claim(&source.claim, Value::Array(value)))
}

/// Why a source is asked for a token with these claims, or not.
fn why(source: &Source, claims: &Object, is_chosen: bool) -> String {
    let claim = &source.claim;
    let has = claims.get(claim).is_some();
    match (source.policy.when, is_chosen) {
        (When::Always, true) => "applies to every token (when: Always)".to_owned(),
        (When::ClaimAbsent, true) => {
            format!("applies: the token has no claim {claim:?} (when: ClaimAbsent)")
        }
        (When::Overflow, true) => format!(
            "applies: the token has no claim {claim:?} and says that there are groups (when: Overflow)"
        ),
        (When::ClaimAbsent | When::Overflow, false) if has => {
            format!("does not apply: the token has the claim {claim:?}")
        }
        (When::Overflow, false) => format!(
            "does not apply: neither _claim_names has {claim:?} nor is hasgroups true (when: Overflow)"
        ),
        (_, false) => "does not apply: a source before it does".to_owned(),
    }
}

fn listed(groups: &[String]) -> String {
    let shown: Vec<_> = groups.iter().take(SHOWN).map(|group| printable(group)).collect();
    let more = match groups.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}: {shown:?}{more}", groups.len())
}
