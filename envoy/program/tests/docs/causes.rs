//! docs/troubleshooting.md, of why a callout fails: what stands between its two marks.

use std::{fmt::Write, fs};

use gateway_core::callout::Cause;
use kube_oidc_gateway::doctor::cure;

const FILE: &str = "docs/troubleshooting.md";
const BEGIN: &str = "<!-- causes: UPDATE_DOCS=1 cargo test -p kube-oidc-gateway --test docs -->\n";
const END: &str = "<!-- /causes -->\n";

#[test]
fn every_cause_is_explained() {
    let text = fs::read_to_string(super::root().join(FILE)).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect(BEGIN);
    let (_, after) = rest.split_once(END).expect(END);
    super::hold(FILE, &format!("{before}{BEGIN}{}{END}{after}", table()));
}

fn table() -> String {
    let mut table = "| word | what a client reads | what to do |\n|---|---|---|\n".to_owned();
    for cause in Cause::ALL {
        writeln!(table, "| `{}` | {} | {} |", cause.keyword(), cause.words(), cure(cause)).unwrap();
    }
    table
}
