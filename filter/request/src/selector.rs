//! Selectors of a list request: whether kube-apiserver can read them, and the one name that a field selector may ask for.

/// The value that a field selector demands of a field, if it demands one; of several terms the first in the order of bytes counts.
///
/// `Err` if it is no selector. Source: k8s.io/apimachinery, `pkg/fields/selector.go`.
pub(crate) fn exact_field(selector: &str, field: &str) -> Result<Option<String>, Unreadable> {
    let mut terms = field_terms(selector);
    terms.sort_unstable();
    let mut found = None;
    for term in terms.into_iter().filter(|term| !term.is_empty()) {
        let (at, operator) = ["!=", "==", "="]
            .iter()
            .filter_map(|operator| term.find(operator).map(|at| (at, *operator)))
            // At the same place the longer one, which stands first, is meant.
            .min_by_key(|(at, _)| *at)
            .ok_or(Unreadable)?;
        let (name, rest) = term.split_at(at);
        let value = unescape(rest.get(operator.len()..).unwrap_or_default())?;
        if operator != "!=" && name == field && found.is_none() {
            found = Some(value);
        }
    }
    Ok(found)
}

/// Why a request's selector cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// Splits at commas, but for those behind a backslash.
fn field_terms(selector: &str) -> Vec<&str> {
    let mut escaped = false;
    selector
        .split(|c: char| {
            let ends = c == ',' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        })
        .collect()
}

fn unescape(value: &str) -> Result<String, Unreadable> {
    let mut text = String::with_capacity(value.len());
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some(escaped @ ('\\' | ',' | '=')) => text.push(escaped),
                _ => return Err(Unreadable),
            },
            ',' | '=' => return Err(Unreadable),
            letter => text.push(letter),
        }
    }
    Ok(text)
}

/// Whether a label selector can be read. Source: k8s.io/apimachinery, `pkg/labels/selector.go`.
pub(crate) fn check_labels(selector: &str) -> Result<(), Unreadable> {
    let mut parser = Parser { tokens: tokens(selector), at: 0 };
    parser.requirements()
}

/// What a label selector is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A key, a value, or the words `in` and `notin`.
    Word(String),
    Open,
    Close,
    Comma,
    Not,
    /// `=`, `==` and `!=`.
    Compare,
    /// `<` and `>`.
    Order,
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn requirements(&mut self) -> Result<(), Unreadable> {
        if self.peek().is_none() {
            return Ok(());
        }
        loop {
            self.requirement()?;
            match self.next() {
                None => return Ok(()),
                Some(Token::Comma) if self.peek().is_some() => {}
                Some(_) => return Err(Unreadable),
            }
        }
    }

    fn requirement(&mut self) -> Result<(), Unreadable> {
        let negated = self.peek() == Some(&Token::Not);
        if negated {
            self.next();
        }
        let Some(Token::Word(key)) = self.next() else { return Err(Unreadable) };
        if !is_label_key(&key) {
            return Err(Unreadable);
        }
        if negated || self.ends() {
            return Ok(());
        }
        match self.next() {
            Some(Token::Word(word)) if word == "in" || word == "notin" => self.values(),
            Some(Token::Compare) => self.value().map(drop),
            Some(Token::Order) => {
                let value = self.value()?;
                value.parse::<i64>().map(drop).map_err(|_| Unreadable)
            }
            _ => Err(Unreadable),
        }
    }

    /// One value, which may be empty.
    fn value(&mut self) -> Result<String, Unreadable> {
        if self.ends() {
            return Ok(String::new());
        }
        match self.next() {
            Some(Token::Word(value)) if is_label_value(&value) => Ok(value),
            _ => Err(Unreadable),
        }
    }

    /// Values in parentheses, any of which may be empty.
    fn values(&mut self) -> Result<(), Unreadable> {
        if self.next() != Some(Token::Open) {
            return Err(Unreadable);
        }
        loop {
            match self.next() {
                Some(Token::Close) => return Ok(()),
                Some(Token::Comma) => {}
                Some(Token::Word(value)) if is_label_value(&value) => {
                    if !matches!(self.peek(), Some(Token::Comma | Token::Close)) {
                        return Err(Unreadable);
                    }
                }
                _ => return Err(Unreadable),
            }
        }
    }

    fn ends(&self) -> bool {
        matches!(self.peek(), None | Some(Token::Comma))
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at = self.at.saturating_add(1);
        token
    }
}

/// Upstream's lexer takes a NUL for the end where a token begins, and for a blank where one ends.
fn tokens(selector: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = selector;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let Some(first) = rest.chars().next().filter(|first| *first != '\0') else { return tokens };
        let (token, length) = match first {
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            ',' => (Token::Comma, 1),
            '<' | '>' => (Token::Order, 1),
            '!' if rest.starts_with("!=") => (Token::Compare, 2),
            '!' => (Token::Not, 1),
            '=' if rest.starts_with("==") => (Token::Compare, 2),
            '=' => (Token::Compare, 1),
            _ => {
                let ends = |c: char| "=!(),<> \t\r\n\0".contains(c);
                let length = rest.find(ends).unwrap_or(rest.len());
                (Token::Word(rest.get(..length).unwrap_or_default().to_owned()), length)
            }
        };
        tokens.push(token);
        rest = rest.get(length..).unwrap_or_default();
        rest = rest.strip_prefix('\0').unwrap_or(rest);
    }
}

/// `NAME` or `PREFIX/NAME`.
fn is_label_key(key: &str) -> bool {
    match key.split_once('/') {
        None => is_label_name(key),
        Some((prefix, name)) => is_subdomain(prefix) && is_label_name(name),
    }
}

fn is_label_value(value: &str) -> bool {
    value.is_empty() || is_label_name(value)
}

fn is_label_name(name: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

/// A DNS subdomain in lower case (RFC 1123).
fn is_subdomain(name: &str) -> bool {
    let letter = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        bytes.first().is_some_and(letter)
            && bytes.last().is_some_and(letter)
            && bytes.iter().all(|byte| letter(byte) || *byte == b'-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}
