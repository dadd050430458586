//! docs/conformance.md has the table of differences.

use kube_rules::DIFFERENCES;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[path = "../../cel/tests/support/page.rs"]
#[allow(dead_code, reason = "other tables have numbers")]
mod page;

#[test]
fn the_page_has_the_table_of_differences() {
    let rows = DIFFERENCES.iter().map(|row| {
        // A bar would begin another cell.
        let cell = |text: &str| text.replace('|', "\\|");
        let [before, after] = [row.before, row.after].map(cell);
        format!("| {} | {before} | {after} | {} |\n", row.since, row.upstream)
    });
    let head = "| since | before | from then on | upstream |\n|---|---|---|---|\n";
    page::check("differences", &format!("{head}{}", rows.collect::<String>()));
}
