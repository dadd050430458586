//! Go's template syntax, the part that such pages use, as minijinja's: `{{.Field}}`, `{{if .Field}}`, `{{else if .Field}}`,
//! `{{else}}`, `{{end}}`, comments, and `-` at either edge for trimming blanks.

use std::fmt::Write as _;

/// What this program does not understand in a template.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TranslateError {
    /// `{{` without `}}`
    #[error("line {0}: an action is not closed with }}}}")]
    Unclosed(usize),
    /// Anything but fields and conditions on them.
    #[error(
        "line {line}: {{{{{action}}}}} is not understood; there are {{{{.Field}}}}, {{{{if .Field}}}}, {{{{else}}}} and {{{{end}}}}"
    )]
    Unknown {
        /// Where it stands.
        line: usize,
        /// What stands there.
        action: String,
    },
}

/// Translates a Go template.
pub fn translate(source: &str) -> Result<String, TranslateError> {
    let mut output = String::new();
    let mut rest = source;
    while let Some(start) = rest.find("{{") {
        let (text, action) = rest.split_at(start);
        literal(&mut output, text);
        let line = source[..source.len() - action.len()].matches('\n').count() + 1;
        let end = action.find("}}").ok_or(TranslateError::Unclosed(line))?;
        let inside = &action[2..end];
        rest = &action[end + 2..];
        let (left, inside) = match inside.strip_prefix('-') {
            Some(trimmed) if trimmed.starts_with(char::is_whitespace) => ("-", trimmed),
            _ => ("", inside),
        };
        let (right, inside) = match inside.strip_suffix('-') {
            Some(trimmed) if trimmed.ends_with(char::is_whitespace) => ("-", trimmed),
            _ => ("", inside),
        };
        let words: Vec<&str> = inside.split_whitespace().collect();
        let unknown = || TranslateError::Unknown { line, action: inside.trim().to_owned() };
        let (open, body, close) = match words.as_slice() {
            [comment, ..] if comment.starts_with("/*") => ("{#", String::new(), "#}"),
            ["if", field] => ("{%", format!("if {}", name(field).ok_or_else(unknown)?), "%}"),
            ["else", "if", field] => {
                ("{%", format!("elif {}", name(field).ok_or_else(unknown)?), "%}")
            }
            ["else"] => ("{%", "else".to_owned(), "%}"),
            ["end"] => ("{%", "endif".to_owned(), "%}"),
            [field] => ("{{", name(field).ok_or_else(unknown)?.to_owned(), "}}"),
            _ => return Err(unknown()),
        };
        let _ = write!(output, "{open}{left} {body} {right}{close}");
    }
    literal(&mut output, rest);
    Ok(output)
}

/// Text as it stands, where minijinja would see actions that Go does not.
fn literal(output: &mut String, text: &str) {
    output.push_str(&text.replace("{%", "{{ '{%' }}").replace("{#", "{{ '{#' }}"));
}

/// The name of a field.
fn name(field: &str) -> Option<&str> {
    let name = field.strip_prefix('.')?;
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    (plain && name.starts_with(|c: char| c.is_ascii_alphabetic())).then_some(name)
}

#[cfg(test)]
mod tests {
    use minijinja::{Environment, context};

    use super::*;

    fn render(source: &str) -> Result<String, TranslateError> {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::Html);
        environment.add_template_owned("page", translate(source)?).unwrap();
        let template = environment.get_template("page").unwrap();
        Ok(template.render(context! { Name => "A<B", Empty => "" }).unwrap())
    }

    #[test]
    fn go_templates_render_as_go_would() {
        for (source, want) in [
            ("{{.Name}} {{ .Name }}", "A&lt;B A&lt;B"),
            ("a {{- .Name -}} b", "aA&lt;Bb"),
            ("{{if .Name}}yes{{else}}no{{end}}", "yes"),
            ("{{if .Empty}}yes{{else if .Name}}name{{else}}no{{end}}", "name"),
            ("{{if .Absent}}yes{{else}}no{{end}}", "no"),
            ("[{{/* a remark with .Name */}}]", "[]"),
            ("a{#b{color:red} {% x %}", "a{#b{color:red} {% x %}"), // no action in Go
            ("{ {.Name} }", "{ {.Name} }"),
            ("", ""),
        ] {
            assert_eq!(render(source).as_deref(), Ok(want), "{source}");
        }
    }

    #[test]
    fn what_is_not_understood_is_named_with_its_line() {
        for (source, line) in [
            ("\n{{range .Groups}}{{end}}", 2),
            ("{{.Name | printf \"%s\"}}", 1),
            ("{{ Name }}", 1),
            ("{{.Name.First}}", 1),
            ("{{}}", 1),
            ("a\nb\n{{ .__class__.x }}", 3),
        ] {
            match render(source) {
                Err(TranslateError::Unknown { line: found, .. }) => {
                    assert_eq!(found, line, "{source}");
                }
                other => panic!("{source}: {other:?}"),
            }
        }
        assert_eq!(render("x\n{{.Name"), Err(TranslateError::Unclosed(2)));
    }
}
