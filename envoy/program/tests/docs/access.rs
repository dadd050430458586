//! docs/access.md: the fields of an entry, between its two marks, and the documents that people copy.

use std::{fmt::Write, fs};

use gateway_config::parse_revocations;
use gateway_core::access::{REVOCATIONS, Revocation};

const FILE: &str = "docs/access.md";
const BEGIN: &str = "<!-- fields: UPDATE_DOCS=1 cargo test -p kube-oidc-gateway --test docs -->\n";
const END: &str = "<!-- /fields -->\n";

#[test]
fn every_field_of_a_revocation_is_explained() {
    let text = fs::read_to_string(super::root().join(FILE)).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect(BEGIN);
    let (_, after) = rest.split_once(END).expect(END);
    super::hold(FILE, &format!("{before}{BEGIN}{}{END}{after}", table()));
}

fn table() -> String {
    let schema = Revocation::schema();
    let mut table = "| field | meaning |\n|---|---|\n".to_owned();
    for (name, field) in schema["properties"].as_object().unwrap() {
        let meaning = super::configuration::description(field);
        writeln!(table, "| `{name}` | {meaning} |").unwrap();
    }
    table
}

#[test]
fn the_revocations_in_the_pages_are_valid() {
    let mut found = 0;
    for page in super::pages() {
        let text = fs::read_to_string(&page).unwrap();
        let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        for block in blocks.filter(|block| block.contains(&format!("\nkind: {REVOCATIONS}\n"))) {
            parse_revocations(block.as_bytes())
                .unwrap_or_else(|error| panic!("{}: {error}\n{block}", page.display()));
            found += 1;
        }
    }
    assert!(found > 0, "no document found: are they written otherwise now?");
}
