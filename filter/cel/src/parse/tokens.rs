//! The words of an expression. Source: cel-go v0.26, `parser/gen/CEL.g4`, lexer rules.

/// What a word is. Operators, brackets and the keywords are symbols, told apart by their text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Name,
    /// A name in backquotes.
    Escaped,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Symbol,
    /// Behind the last word.
    End,
}

/// A word and where it stands, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Token<'s> {
    pub kind: Kind,
    pub text: &'s str,
    pub at: usize,
}

impl Token<'_> {
    /// Whether it is this symbol.
    pub fn is(&self, symbol: &str) -> bool {
        self.kind == Kind::Symbol && self.text == symbol
    }
}

/// Where a text is no word, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unknown(pub usize);

/// Reads one word after the other; a copy reads ahead.
#[derive(Debug, Clone)]
pub struct Tokens<'s> {
    source: &'s str,
    at: usize,
}

const SYMBOLS: [&str; 23] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "!", "[", "]", "{", "}", "(", ")", ".", ",", "-",
    "?", ":", "+", "*", "%",
];

impl<'s> Tokens<'s> {
    pub fn new(source: &'s str) -> Self {
        Self { source, at: 0 }
    }

    /// The next word.
    ///
    /// # Errors
    /// There is none of the language: a stray character, or a string without an end.
    pub fn next(&mut self) -> Result<Token<'s>, Unknown> {
        self.skip_blanks();
        let rest = self.rest();
        let (kind, length) = word(rest).ok_or(Unknown(self.at))?;
        let (text, at) = (rest.get(..length).unwrap_or_default(), self.at);
        self.at += length;
        Ok(Token { kind, text, at })
    }

    fn rest(&self) -> &'s str {
        self.source.get(self.at..).unwrap_or_default()
    }

    /// Blanks and comments.
    fn skip_blanks(&mut self) {
        let mut rest = self.rest();
        loop {
            rest = rest.trim_start_matches([' ', '\t', '\r', '\n', '\u{c}']);
            if !rest.starts_with("//") {
                break;
            }
            rest = rest.trim_start_matches(|c| c != '\n');
        }
        self.at = self.source.len() - rest.len();
    }
}

/// The word at the start of a text, and its length: the longest that is one.
fn word(rest: &str) -> Option<(Kind, usize)> {
    let Some(&first) = rest.as_bytes().first() else { return Some((Kind::End, 0)) };
    match first {
        b'0'..=b'9' => Some(number(rest)),
        b'.' if digits(rest, 1) > 0 => Some(number(rest)),
        b'"' | b'\'' => Some((Kind::String, string(rest, false)?)),
        b'`' => escaped(rest),
        b'/' => Some((Kind::Symbol, 1)),
        b'_' | b'a'..=b'z' | b'A'..=b'Z' => Some(prefixed(rest).unwrap_or_else(|| name(rest))),
        _ => {
            let symbol = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol))?;
            Some((Kind::Symbol, symbol.len()))
        }
    }
}

/// How many bytes from `from` on are digits.
fn digits(rest: &str, from: usize) -> usize {
    count(rest, from, u8::is_ascii_digit)
}

fn count(rest: &str, from: usize, counted: impl Fn(&u8) -> bool) -> usize {
    rest.bytes().skip(from).take_while(counted).count()
}

fn byte(rest: &str, at: usize) -> Option<u8> {
    rest.as_bytes().get(at).copied()
}

fn number(rest: &str) -> (Kind, usize) {
    let uint = |length| match byte(rest, length) {
        Some(b'u' | b'U') => (Kind::Uint, length + 1),
        _ => (Kind::Int, length),
    };
    let hexadecimal = count(rest, 2, u8::is_ascii_hexdigit);
    if rest.starts_with("0x") && hexadecimal > 0 {
        return uint(2 + hexadecimal);
    }
    let whole = digits(rest, 0);
    let mut length = whole;
    if byte(rest, length) == Some(b'.') && digits(rest, length + 1) > 0 {
        length += 1 + digits(rest, length + 1);
    }
    if matches!(byte(rest, length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(byte(rest, length + 1), Some(b'+' | b'-')));
        let exponent = digits(rest, length + 1 + sign);
        if exponent > 0 {
            length += 1 + sign + exponent;
        }
    }
    if length == whole { uint(whole) } else { (Kind::Double, length) }
}

fn name(rest: &str) -> (Kind, usize) {
    let length = count(rest, 0, |byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let is_keyword = matches!(rest.get(..length), Some("in" | "true" | "false" | "null"));
    (if is_keyword { Kind::Symbol } else { Kind::Name }, length)
}

/// A name in backquotes, which may be no less than a character.
fn escaped(rest: &str) -> Option<(Kind, usize)> {
    let inside = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-/ ".contains(byte);
    let length = count(rest, 1, inside);
    (length > 0 && byte(rest, 1 + length) == Some(b'`')).then_some((Kind::Escaped, length + 2))
}

/// A string with a prefix: `b` for bytes, then `r` for raw.
fn prefixed(rest: &str) -> Option<(Kind, usize)> {
    let bytes = usize::from(matches!(byte(rest, 0), Some(b'b' | b'B')));
    let raw = usize::from(matches!(byte(rest, bytes), Some(b'r' | b'R')));
    let prefix = bytes + raw;
    let length = string(rest.get(prefix..)?, raw > 0)?;
    Some((if bytes > 0 { Kind::Bytes } else { Kind::String }, prefix + length))
}

/// The length of a quoted string, whose escapes are looked at when its value is taken.
fn string(rest: &str, raw: bool) -> Option<usize> {
    let quote = byte(rest, 0).filter(|quote| matches!(quote, b'"' | b'\''))?;
    let long = if quote == b'"' { "\"\"\"" } else { "'''" };
    let is_long = rest.starts_with(long);
    let mut at = if is_long { 3 } else { 1 };
    loop {
        match byte(rest, at)? {
            b'\\' if !raw => at += 1,
            b'\n' | b'\r' if !is_long => return None,
            byte if byte == quote => match is_long {
                false => return Some(at + 1),
                true if rest.get(at..)?.starts_with(long) => return Some(at + 3),
                true => {}
            },
            _ => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Tokens, Unknown};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn words(source: &str) -> Result<Vec<String>, Unknown> {
        let mut tokens = Tokens::new(source);
        let mut words = Vec::new();
        loop {
            let token = tokens.next()?;
            if token.kind == Kind::End {
                return Ok(words);
            }
            words.push(format!("{:?} {}", token.kind, token.text));
        }
    }

    #[test]
    fn the_longest_word_wins() {
        for (source, want) in [
            ("a.in//b\n.c", "Name a, Symbol ., Symbol in, Symbol ., Name c"),
            ("1..2", "Int 1, Symbol ., Double .2"),
            ("1.e5", "Int 1, Symbol ., Name e5"),
            ("1e 1e+ 1e+5", "Int 1, Name e, Int 1, Name e, Symbol +, Double 1e+5"),
            ("0x 0xFu 01U 1.5u", "Int 0, Name x, Uint 0xFu, Uint 01U, Double 1.5, Name u"),
            ("b'a' rb'' Br''", "Bytes b'a', Name rb, String '', Bytes Br''"),
            (r"'\'' r'\' '''''a''' 'é'", r"String '\'', String r'\', String '''''a''', String 'é'"),
            ("\"\"\"a\"\nb\"\"\"", "String \"\"\"a\"\nb\"\"\""),
            ("`a.b/c-d e`", "Escaped `a.b/c-d e`"),
            (
                "a<=b==-c!d",
                "Name a, Symbol <=, Name b, Symbol ==, Symbol -, Name c, Symbol !, Name d",
            ),
            ("5/2", "Int 5, Symbol /, Int 2"),
        ] {
            assert_eq!(words(source).unwrap().join(", "), want, "{source:?}");
        }
    }

    #[test]
    fn what_is_no_word() {
        for (source, at) in [
            ("a = b", 2),
            ("a & b", 2),
            ("é", 0),
            (" 'a", 1),
            ("'a\n'", 0),
            ("'''a''", 0),
            ("``", 0),
            ("`a", 0),
            (r"'\", 0),
            ("\u{b}", 0),
        ] {
            assert_eq!(words(source), Err(Unknown(at)), "{source:?}");
        }
        // The prefix of a string that does not end is a name.
        assert_eq!(words("r'a"), Err(Unknown(1)));
    }
}
