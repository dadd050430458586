//! Which test shows the effect of a flag of `run` that only a whole gateway can show. The flags are a table of the program's, the
//! tests are named by themselves: one that is gone does not compile.

use std::collections::BTreeSet;

use kube_oidc_gateway::run::END_TO_END;

use crate::{
    behaviour::{
        a_certificate_for_a_name_beside_the_first, audit_events_and_the_line_of_kube_oidc_proxy,
    },
    beside::a_portal_and_its_gateway_in_one_envoy,
    rotation::everything_is_swapped_under_load,
    versions::cve_2026_73548_an_old_envoy_starts_only_if_a_test_says_so,
    ways::issuers_are_shown_a_client_certificate_and_its_successor,
};

/// Flags, and the test that shows their effect; none where all do, because each program is started with them.
type Held = (&'static [&'static str], Option<fn()>);

const HELD: [Held; 8] = [
    (&["--authentication-config", "--gateway-config"], Some(everything_is_swapped_under_load)),
    (&["--portal-config"], Some(a_portal_and_its_gateway_in_one_envoy)),
    (&["--oidc-ca-file", "--kubeconfig", "--tls-cert-file", "--tls-private-key-file"], None),
    (&["--service-account-dir"], Some(everything_is_swapped_under_load)),
    (
        &["--oidc-tls-client-cert-file", "--oidc-tls-client-key-file"],
        Some(issuers_are_shown_a_client_certificate_and_its_successor),
    ),
    (&["--tls-sni-cert-key"], Some(a_certificate_for_a_name_beside_the_first)),
    (
        &[
            "--audit-policy-file",
            "--audit-log-path",
            "--audit-webhook-config-file",
            "--request-log",
        ],
        Some(audit_events_and_the_line_of_kube_oidc_proxy),
    ),
    (
        &["--allow-vulnerable-envoy"],
        Some(cve_2026_73548_an_old_envoy_starts_only_if_a_test_says_so),
    ),
];

#[test]
fn every_flag_that_only_a_gateway_shows_has_its_test() {
    let held: BTreeSet<_> = HELD.iter().flat_map(|(flags, _)| flags.iter().copied()).collect();
    assert_eq!(held, BTreeSet::from(END_TO_END));
}
