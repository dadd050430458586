//! The text of a kubeconfig for a screen: `***` in the place of every secret, and everything else as it stands.
//!
//! Secrets are known by where they stand, never by what they are: one that is a common word would be masked everywhere, and be
//! told by that.

use std::{collections::BTreeMap, fmt, ops::Range};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{Location, Spanned};

use crate::cli::{is_secret_flag, is_secret_name, is_secret_variable};

const MASK: &str = "***";

/// Fields of a user that are secrets themselves.
const FIELDS: [&str; 3] = ["token", "password", "client-key-data"];

/// The text with its secrets masked; `None` if they cannot be found in a text of this form.
pub fn masked(text: &str) -> Option<String> {
    if text.trim().is_empty() {
        return Some(text.to_owned());
    }
    let mut document: Node = serde_saphyr::from_str(text).ok()?;
    let mut secrets = Secrets::default();
    for user in document.field("users").map(|users| users.value.items()).unwrap_or_default() {
        user.value.field("user").into_iter().for_each(|user| secrets.find_in_user(&mut user.value));
    }
    let places = secrets.0.into_iter().map(|(location, shown)| place(text, location, shown));
    let mut ranges = places.collect::<Option<Vec<_>>>()?;
    ranges.sort_by_key(|(range, _)| range.start);
    ranges.dedup();
    // What is shown, with the marks quoted, must be the document without its secrets.
    let quoted = replaced(text, &ranges, |mark| format!("{mark:?}"))?;
    let again: Node = serde_saphyr::from_str(&quoted).ok()?;
    if again.is_same(&document) { replaced(text, &ranges, str::to_owned) } else { None }
}

/// The text with what is put in the place of each range.
fn replaced(
    text: &str,
    ranges: &[(Range<usize>, String)],
    written: impl Fn(&str) -> String,
) -> Option<String> {
    let mut output = String::new();
    let mut end = 0;
    for (range, mark) in ranges {
        output.push_str(text.get(end..range.start)?);
        output.push_str(&written(mark));
        end = range.end;
    }
    output.push_str(text.get(end..)?);
    Some(output)
}

/// A secret's place in the text and what is shown there, if the place is known.
fn place(text: &str, location: Location, shown: String) -> Option<(Range<usize>, String)> {
    let start = usize::try_from(location.span().byte_offset()?).ok()?;
    let length = usize::try_from(location.span().byte_len()?).ok()?;
    let found = text.get(start..start.checked_add(length)?)?.trim_end();
    Some((block_start(text.get(..start)?).unwrap_or(start)..start + found.len(), shown))
}

/// Where `|-` or `>` stands that makes a block of what follows.
fn block_start(before: &str) -> Option<usize> {
    let header = before.trim_end();
    let line_ends = before.get(header.len()..)?.contains('\n');
    let start = header.trim_end_matches(|c: char| matches!(c, '-' | '+' | '1'..='9'));
    (line_ends && start.ends_with(['|', '>'])).then(|| start.len() - 1)
}

/// Secrets of a document, which holds what is shown in the place of each.
#[derive(Default)]
struct Secrets(Vec<(Location, String)>);

impl Secrets {
    fn find_in_user(&mut self, user: &mut Node) {
        for name in FIELDS {
            user.field(name).into_iter().for_each(|field| self.hide(field));
        }
        if let Some(exec) = user.field("exec") {
            let arguments = exec.value.field("args").map(|it| it.value.items()).unwrap_or_default();
            self.find_in_arguments(arguments);
            let variables = exec.value.field("env").map(|it| it.value.items()).unwrap_or_default();
            for variable in variables {
                let name = variable.value.field("name").and_then(|name| name.value.text());
                if name.is_some_and(is_secret_variable) {
                    variable.value.field("value").into_iter().for_each(|value| self.hide(value));
                }
            }
        }
        let provider = user.field("auth-provider");
        if let Some(config) = provider.and_then(|provider| provider.value.field("config")) {
            for (name, value) in config.value.fields() {
                if is_secret_name(name) {
                    self.hide(value);
                }
            }
        }
    }

    fn find_in_arguments(&mut self, arguments: &mut [Spanned<Node>]) {
        let mut is_value = false;
        for argument in arguments {
            if std::mem::take(&mut is_value) {
                self.hide(argument);
                continue;
            }
            let Some(text) = argument.value.text() else { continue };
            // `--env=NAME=VALUE` of a container.
            let lead = if text.starts_with("--env=") { "--env=" } else { "" };
            let assigned = text.get(lead.len()..).and_then(|rest| rest.split_once('='));
            match assigned.map(|(name, _)| name.to_owned()) {
                Some(name) if is_secret_flag(&name) || is_assignment(&name) => {
                    self.show(argument, format!("{lead}{name}={MASK}"));
                }
                Some(_) => {}
                None => is_value = is_secret_flag(text),
            }
        }
    }

    /// Hides all that stands there.
    fn hide(&mut self, node: &mut Spanned<Node>) {
        match &mut node.value {
            Node::Scalar(text) if text.is_empty() => {}
            Node::Scalar(_) => self.show(node, MASK.to_owned()),
            Node::List(items) => items.iter_mut().for_each(|item| self.hide(item)),
            Node::Map(fields) => fields.values_mut().for_each(|field| self.hide(field)),
        }
    }

    fn show(&mut self, node: &mut Spanned<Node>, text: String) {
        node.value = Node::Scalar(text.clone());
        self.0.push((node.defined, text));
    }
}

/// `NAME=` of a container's variable, behind its `-e` or alone.
fn is_assignment(name: &str) -> bool {
    let name = name.strip_prefix("-e").unwrap_or(name);
    !name.starts_with('-') && is_secret_variable(name)
}

/// A document with the places of what stands in it.
#[derive(Debug)]
enum Node {
    Scalar(String),
    List(Vec<Spanned<Node>>),
    Map(BTreeMap<String, Spanned<Node>>),
}

impl Node {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Scalar(text) => Some(text),
            _ => None,
        }
    }

    fn field(&mut self, name: &str) -> Option<&mut Spanned<Node>> {
        match self {
            Self::Map(fields) => fields.get_mut(name),
            _ => None,
        }
    }

    fn fields(&mut self) -> impl Iterator<Item = (&str, &mut Spanned<Node>)> {
        let fields = match self {
            Self::Map(fields) => Some(fields),
            _ => None,
        };
        fields.into_iter().flatten().map(|(name, value)| (name.as_str(), value))
    }

    fn items(&mut self) -> &mut [Spanned<Node>] {
        match self {
            Self::List(items) => items,
            _ => &mut [],
        }
    }

    /// Whether the same stands there, wherever.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Scalar(one), Self::Scalar(other)) => one == other,
            (Self::List(one), Self::List(other)) => {
                let mut pairs = one.iter().zip(other);
                one.len() == other.len()
                    && pairs.all(|(one, other)| one.value.is_same(&other.value))
            }
            (Self::Map(one), Self::Map(other)) => {
                let mut pairs = one.iter().zip(other);
                one.len() == other.len()
                    && pairs
                        .all(|(one, other)| one.0 == other.0 && one.1.value.is_same(&other.1.value))
            }
            _ => false,
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("YAML")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(String::new()))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(String::new()))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Node, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((name, value)) = fields.next_entry()? {
            map.insert(name, value);
        }
        Ok(Node::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(text: &str) -> String {
        format!("users:\n- name: ü\n  user:\n    {}\n# the end\n", text.replace('\n', "\n    "))
    }

    #[test]
    fn secrets_are_masked_where_they_stand_and_nowhere_else() {
        for (before, after) in [
            ("token: users", "token: ***"),
            ("token: \"a: \\\"b\" # users", "token: *** # users"),
            ("{token: 's', username: s}", "{token: ***, username: s}"),
            ("password: 12", "password: ***"),
            ("password: >-\n  one\n  two\nusername: one", "password: ***\nusername: one"),
            (
                "exec:\n  args: [a, --password, a, --password=a]",
                "exec:\n  args: [a, --password, ***, --password=***]",
            ),
            (
                "exec:\n  args: [run, -e, CLIENT_SECRET=run, -eTOKEN=run, --env=A_TOKEN=run, -e, A=run]",
                "exec:\n  args: [run, -e, CLIENT_SECRET=***, -eTOKEN=***, --env=A_TOKEN=***, -e, A=run]",
            ),
            (
                "exec:\n  env:\n  - {name: A_SECRET, value: A}\n  - {name: A, value: A}",
                "exec:\n  env:\n  - {name: A_SECRET, value: ***}\n  - {name: A, value: A}",
            ),
            (
                "auth-provider: {name: oidc, config: {client-secret: oidc, id-token: x, refresh-token: y, client-id: oidc}}",
                "auth-provider: {name: oidc, config: {client-secret: ***, id-token: ***, refresh-token: ***, client-id: oidc}}",
            ),
            ("token: |\n  one\n\n# users", "token: ***\n\n# users"),
            ("token:\npassword: ''", "token:\npassword: ''"),
            ("token: &a b", "token: &a ***"),
            ("username: ada", "username: ada"),
        ] {
            assert_eq!(masked(&user(before)), Some(user(after)), "{before}");
        }
        let json = r#"{"users": [{"name": "s", "user": {"token": "s"}}]}"#;
        let want = r#"{"users": [{"name": "s", "user": {"token": ***}}]}"#;
        assert_eq!(masked(json).as_deref(), Some(want));
        assert_eq!(masked("").as_deref(), Some(""));
        assert_eq!(masked("# nothing\n").as_deref(), Some("# nothing\n"));
    }

    /// What cannot be told apart is not shown.
    #[test]
    fn a_form_that_hides_its_secrets_is_not_shown() {
        for text in ["username: &a s\npassword: *a", "exec: {args: [&a s, --password, *a]}"] {
            let shown = masked(&user(text)).unwrap_or_default();
            assert!(!shown.contains("&a s"), "{shown}");
        }
    }
}
