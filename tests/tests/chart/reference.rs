//! The chart's README lists every value: the table is made from the comments in values.yaml.

use std::{env, fmt::Write, fs};

use crate::helm::chart;

const BEGIN: &str = "<!-- values -->\n";
const END: &str = "<!-- end of values -->";

#[test]
fn the_readme_lists_the_values_as_they_are() {
    let table = table(&fs::read_to_string(chart().join("values.yaml")).unwrap());
    let path = chart().join("README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once(BEGIN).unwrap();
    let (old, after) = rest.split_once(END).unwrap();
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        assert_eq!(old, table);
    }
}

/// One row for each value with a comment; a value without one is an error.
fn table(values: &str) -> String {
    let mut rows = "| value | default | what it is |\n|---|---|---|\n".to_owned();
    let mut parents: Vec<(usize, &str)> = Vec::new();
    let mut comment = None;
    let mut described = None;
    for line in values.lines() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if let Some(text) = text.strip_prefix("# -- ") {
            comment = Some(text);
            continue;
        }
        let Some((key, value)) = text.split_once(':') else { continue };
        if text.starts_with(['#', '-']) || described.is_some_and(|depth| indent > depth) {
            continue;
        }
        described = None;
        parents.retain(|(depth, _)| *depth < indent);
        parents.push((indent, key));
        let Some(comment) = comment.take() else {
            assert!(value.trim().is_empty(), "{key} has no comment");
            continue;
        };
        let path: Vec<_> = parents.iter().map(|(_, key)| *key).collect();
        let default = match value.trim() {
            "" if is_object(values, line) => "see values.yaml".to_owned(),
            "" | "\"\"" => "empty".to_owned(),
            value => format!("`{value}`"),
        };
        described = Some(indent);
        writeln!(rows, "| `{}` | {default} | {comment} |", path.join(".")).unwrap();
    }
    rows
}

/// Whether the value goes on in the lines below.
fn is_object(values: &str, line: &str) -> bool {
    let mut lines = values.lines().skip_while(|other| *other != line).skip(1);
    let indent = |line: &str| line.len() - line.trim_start().len();
    lines.next().is_some_and(|next| indent(next) > indent(line) && !next.trim().starts_with('#'))
}
