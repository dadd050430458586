//! Changing a document so that the person's own text stays: comments, order and spelling.
//!
//! Items are added and replaced line by line in a file of the usual form (lists of top-level keys in block style). The result is
//! parsed and compared with the change made to the parsed document; if they differ, for a form this does not understand, the
//! whole file is written anew from the document, as kubectl itself always does.

use std::ops::Range;

use gateway_kubeconfig::parse;
use serde_json::{Map, Value, json};

/// A change to a document.
#[derive(Debug, Clone)]
pub enum Edit {
    /// An item of a list takes the place of that of its name, or comes last.
    Item {
        /// The list.
        list: &'static str,
        /// The item, with its `name`.
        item: Value,
    },
    /// The current context.
    Current(String),
}

/// The text after `edits`, and whether comments were lost. `document` is what `before` says.
pub fn text(before: &str, document: &Value, edits: &[Edit]) -> Result<(String, bool), String> {
    let mut wanted = document.clone();
    apply(&mut wanted, edits);
    if wanted == *document {
        return Ok((before.to_owned(), false));
    }
    if let Some(text) = in_place(before, edits).filter(|text| parse(text).as_ref() == Ok(&wanted)) {
        return Ok((text, false));
    }
    let text = serde_saphyr::to_string(&wanted).map_err(|error| error.to_string())?;
    if parse(&text).as_ref() != Ok(&wanted) {
        return Err("it cannot be written as YAML".to_owned());
    }
    let had_comments = before.lines().any(|line| line.trim_start().starts_with('#'));
    Ok((text, had_comments))
}

/// Makes `edits` in a document.
pub fn apply(document: &mut Value, edits: &[Edit]) {
    let Some(root) = document.as_object_mut() else { return };
    for (key, value) in [("apiVersion", "v1"), ("kind", "Config")] {
        if root.is_empty() || root.contains_key("apiVersion") && !root.contains_key(key) {
            root.insert(key.to_owned(), json!(value));
        }
    }
    for edit in edits {
        match edit {
            Edit::Current(name) => {
                root.insert("current-context".to_owned(), json!(name));
            }
            Edit::Item { list, item } => put(root, list, item),
        }
    }
}

fn put(root: &mut Map<String, Value>, list: &str, item: &Value) {
    let entry = root.entry(list).or_insert_with(|| json!([]));
    if !entry.is_array() {
        *entry = json!([]); // `users: null`, as an empty kubeconfig has it
    }
    let Some(items) = entry.as_array_mut() else { return };
    match items.iter_mut().find(|known| known.get("name") == item.get("name")) {
        Some(known) => *known = item.clone(),
        None => items.push(item.clone()),
    }
}

/// The text with the edits made line by line; `None` for a form that does not allow for it.
fn in_place(before: &str, edits: &[Edit]) -> Option<String> {
    let mut lines: Vec<String> = before.lines().map(str::to_owned).collect();
    if !lines.iter().any(|line| is_content(line)) {
        return None;
    }
    for edit in edits {
        match edit {
            Edit::Current(name) => {
                let line = yaml(&json!({ "current-context": name }))?.pop()?;
                match lines.iter().position(|line| key_of(line) == Some("current-context")) {
                    Some(at) => *lines.get_mut(at)? = line,
                    None => lines.push(line),
                }
            }
            Edit::Item { list, item } => put_lines(&mut lines, list, item)?,
        }
    }
    Some(lines.join("\n") + "\n")
}

fn put_lines(lines: &mut Vec<String>, list: &str, item: &Value) -> Option<()> {
    let Some(key) = lines.iter().position(|line| key_of(line) == Some(list)) else {
        lines.push(format!("{list}:"));
        lines.extend(item_lines(item, 0)?);
        return Some(());
    };
    let block = block(lines, key);
    let items = items(lines, block.clone());
    let indent = items.first().map_or(0, |first| indent_of(&lines[first.start]));
    let new = item_lines(item, indent)?;
    if items.is_empty() {
        // `users: []` or `users: null`
        *lines.get_mut(key)? = format!("{list}:");
        let after = key + 1;
        lines.splice(after..after, new);
        return Some(());
    }
    let name = item.get("name");
    let same = items.iter().find(|range| {
        let text = lines[(*range).clone()].join("\n");
        let parsed = parse(&text).ok();
        parsed.as_ref().and_then(|list| list.get(0)?.get("name")) == name
    });
    let end = items.last()?.end;
    lines.splice(same.cloned().unwrap_or(end..end), new);
    Some(())
}

/// The lines after a top-level key that belong to it.
fn block(lines: &[String], key: usize) -> Range<usize> {
    let end = lines.iter().enumerate().skip(key + 1).find(|(_, line)| {
        is_content(line) && !line.starts_with([' ', '-']) || line.starts_with("---")
    });
    key + 1..end.map_or(lines.len(), |(at, _)| at)
}

/// The items of a block-style list, each without the comments and blank lines that follow it.
fn items(lines: &[String], block: Range<usize>) -> Vec<Range<usize>> {
    let content = || block.clone().filter(|&at| is_content(&lines[at]));
    let Some(first) = content().next() else { return Vec::new() };
    let indent = indent_of(&lines[first]);
    let starts: Vec<usize> = content()
        .filter(|&at| indent_of(&lines[at]) == indent && lines[at].trim_start().starts_with("- "))
        .collect();
    let ends = starts.iter().skip(1).copied().chain([block.end]);
    starts
        .iter()
        .zip(ends)
        .map(|(&start, end)| {
            let last = (start..end).rev().find(|&at| is_content(&lines[at])).unwrap_or(start);
            start..last + 1
        })
        .collect()
}

/// An item as lines of a list that is indented so far.
fn item_lines(item: &Value, indent: usize) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    for (index, line) in yaml(item)?.into_iter().enumerate() {
        let lead = if index == 0 { "- " } else { "  " };
        lines.push(format!("{}{lead}{line}", " ".repeat(indent)));
    }
    Some(lines)
}

fn yaml(value: &Value) -> Option<Vec<String>> {
    Some(serde_saphyr::to_string(value).ok()?.lines().map(str::to_owned).collect())
}

fn is_content(line: &str) -> bool {
    let line = line.trim_start();
    !line.is_empty() && !line.starts_with('#')
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// The key of a line that begins a top-level entry.
fn key_of(line: &str) -> Option<&str> {
    let (key, _) = line.split_once(':')?;
    let plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (plain && !key.starts_with('-')).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edits() -> Vec<Edit> {
        let user = json!({"name": "new", "user": {"exec": {"args": ["a", "yes"], "command": "k"}}});
        vec![
            Edit::Item { list: "users", item: user },
            Edit::Item {
                list: "contexts",
                item: json!({"name": "new", "context": {"user": "new"}}),
            },
            Edit::Current("new".to_owned()),
        ]
    }

    fn edited(before: &str) -> (String, bool) {
        let document = parse(before).unwrap();
        let document = if document.is_null() { json!({}) } else { document };
        text(before, &document, &edits()).unwrap()
    }

    /// The example kubeconfig of kubekey is mostly comments, and a person's own is often too.
    #[test]
    fn comments_and_order_stay() {
        let before = "\
# my clusters
kind: Config
users:
# the first
- name: first   # and only
  user: {token: t}

# contexts follow
contexts:
  - context:
      user: first
    name: first
current-context: first # for now
";
        let (after, lost) = edited(before);
        assert!(!lost);
        for line in
            ["# my clusters", "# the first", "- name: first   # and only", "# contexts follow"]
        {
            assert!(after.contains(line), "{line}\n{after}");
        }
        assert!(after.contains("  - context:\n      user: new\n    name: new\n"), "{after}");
        assert!(after.find("name: new").unwrap() < after.find("# contexts follow").unwrap());
        let mut wanted = parse(before).unwrap();
        apply(&mut wanted, &edits());
        assert_eq!(parse(&after).unwrap(), wanted);
    }

    #[test]
    fn an_item_is_replaced_in_its_place() {
        let before = "users:\n- name: a\n  user: {}\n- name: new # old one\n  user:\n    token: old\n# after\n- name: z\n  user: {}\n";
        let (after, lost) = edited(before);
        assert!(!lost && after.contains("# after") && !after.contains("old"), "{after}");
        let names: Vec<_> = parse(&after).unwrap()["users"]
            .as_array()
            .unwrap()
            .iter()
            .map(|u| u["name"].clone())
            .collect();
        assert_eq!(names, ["a", "new", "z"]);
    }

    #[test]
    fn forms_that_cannot_be_changed_in_place_are_written_anew() {
        for (before, lost) in [
            ("", false),
            ("# only a comment\n", true),
            ("{users: [{name: a, user: {}}]}", false), // flow style, JSON
            ("users: [{name: a, user: {}}] # remark\n", false),
            ("# remark\nusers:\n-\n  name: a\n  user: {}\n", true),
            ("users: null\n", false),
            ("users: []\ncontexts: []\n", false),
            ("\"users\":\n- name: a\n  user: {}\n", false),
        ] {
            let (after, found) = edited(before);
            let mut wanted = parse(before).unwrap();
            if wanted.is_null() {
                wanted = json!({});
            }
            apply(&mut wanted, &edits());
            assert_eq!(parse(&after).unwrap(), wanted, "{before}\n{after}");
            assert_eq!(found, lost, "{before}\n{after}");
        }
    }

    #[test]
    fn no_change_is_no_change() {
        let before = "# as it is\nusers: [ { user: { exec: {args: [a, 'yes'], command: k} }, name: new } ]\ncontexts:\n- {name: new, context: {user: new}}\ncurrent-context: new";
        assert_eq!(edited(before), (before.to_owned(), false));
    }
}
