//! docs/envoy.md, of the versions of Envoy that may be used: what stands between its two marks.

use std::{fmt::Write, fs};

use gateway_lint::envoy_version::{CVE, ENVOY, ISTIO, Product, Version};

const FILE: &str = "docs/envoy.md";
const BEGIN: &str =
    "<!-- versions: UPDATE_DOCS=1 cargo test -p kube-oidc-gateway --test docs -->\n";
const END: &str = "<!-- /versions -->\n";

#[test]
fn the_versions_are_what_the_program_takes() {
    let text = fs::read_to_string(super::root().join(FILE)).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect(BEGIN);
    let (_, after) = rest.split_once(END).expect(END);
    super::hold(FILE, &format!("{before}{BEGIN}{}{END}{after}", table()));
}

fn table() -> String {
    let mut table = format!("| line | with the fix of {CVE} | refused |\n|---|---|---|\n");
    for product in [ENVOY, ISTIO] {
        rows(&mut table, product);
    }
    table
}

fn rows(table: &mut String, product: Product) {
    let Product { name, lines } = product;
    let Version(major, minor, _) = lines[0];
    writeln!(table, "| {name} before {major}.{minor} | no release | all |").unwrap();
    for first @ Version(major, minor, patch) in lines {
        let refused = match patch {
            0 => "none".to_owned(),
            1 => format!("{major}.{minor}.0"),
            _ => format!("{major}.{minor}.0 to {major}.{minor}.{}", patch - 1),
        };
        writeln!(table, "| {name} {major}.{minor} | {first} and later | {refused} |").unwrap();
    }
    let Version(major, minor, _) = lines[lines.len() - 1];
    writeln!(table, "| {name} after {major}.{minor} | all | none |").unwrap();
}
