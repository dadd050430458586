//! What could exhaust the stack before the parser's own limits: long texts, and operators in a row. The parser builds those
//! as deep as they are long, and walks and drops them recursively.

/// Upstream's limit.
const MOST_CHARACTERS: usize = 100_000;
/// Operators from the root to a leaf, at most: more than twice of what the checks after the parser allow in one chain, so that
/// it is these that refuse what an author may have meant.
const MOST_OPERATORS: usize = 600;

/// Refuses what is too large.
///
/// # Errors
/// What is too large, or a string that does not end: the parser would go on within it.
pub fn check(source: &str) -> Result<(), String> {
    let characters = source.chars().count();
    if characters > MOST_CHARACTERS {
        return Err(format!(
            "expression code point size exceeds limit: size: {characters}, limit {MOST_CHARACTERS}"
        ));
    }
    let mut scan = Scan { rest: source, outer: Vec::new(), base: 0, most: 0, operators: 0 };
    while let Some(character) = scan.next() {
        scan.token(character)?;
        if scan.operators > MOST_OPERATORS {
            return Err("expression recursion limit exceeded".to_owned());
        }
    }
    Ok(())
}

struct Scan<'s> {
    rest: &'s str,
    /// For each open bracket, `base` and `most` outside of it.
    outer: Vec<(usize, usize)>,
    /// Operators above a part, which ends at a comma or a logical operator.
    base: usize,
    /// Operators above the deepest leaf of the parts before, within the same bracket.
    most: usize,
    /// Operators above the deepest leaf of the part so far.
    operators: usize,
}

impl Scan<'_> {
    fn next(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let character = characters.next();
        self.rest = characters.as_str();
        character
    }

    fn token(&mut self, character: char) -> Result<(), String> {
        match character {
            '"' | '\'' => return self.string(character, false),
            '`' => self.skip(|c| c != '`' && c != '\n'),
            '/' if self.rest.starts_with('/') => self.skip(|c| c != '\n'),
            c if c.is_ascii_alphabetic() || c == '_' => return self.word(c),
            // Of a fraction the point counts; those that are written fit.
            c if c.is_ascii_digit() => self.skip(|c| c.is_ascii_alphanumeric()),
            '(' | '[' | '{' => {
                self.operators += 1;
                self.outer.push((self.base, self.most));
                (self.base, self.most) = (self.operators, self.operators);
            }
            ')' | ']' | '}' => {
                // What follows the bracket stands above all that is in it.
                self.operators = self.operators.max(self.most);
                (self.base, self.most) = self.outer.pop().unwrap_or((self.base, self.most));
            }
            ',' | '?' | ':' | '&' | '|' => {
                self.most = self.most.max(self.operators);
                self.operators = self.base;
            }
            '.' | '+' | '-' | '*' | '/' | '%' | '<' | '>' | '=' | '!' => {
                self.operators += 1;
                // `==` is one, and so is `.?`.
                let more = if character == '.' { '?' } else { '=' };
                self.rest = self.rest.strip_prefix(more).unwrap_or(self.rest);
            }
            _ => {}
        }
        Ok(())
    }

    fn skip(&mut self, skipped: impl Fn(char) -> bool) {
        self.rest = self.rest.trim_start_matches(skipped);
    }

    /// A name, an operator with a name, or the prefix of a string.
    fn word(&mut self, first: char) -> Result<(), String> {
        let whole = self.rest;
        self.skip(|c| c.is_ascii_alphanumeric() || c == '_');
        let rest = whole.strip_suffix(self.rest).unwrap_or_default();
        if let Some(quote) = self.rest.chars().next().filter(|c| matches!(c, '"' | '\'')) {
            let is_prefix = |c: char| "rRbB".contains(c);
            if is_prefix(first) && rest.len() <= 1 && rest.chars().all(is_prefix) {
                self.next();
                let raw = "rR".contains(first) || rest.contains(['r', 'R']);
                return self.string(quote, raw);
            }
        }
        if first == 'i' && rest == "n" {
            self.operators += 1;
        }
        Ok(())
    }

    /// The rest of a string after its first quote.
    fn string(&mut self, quote: char, raw: bool) -> Result<(), String> {
        let more = if quote == '"' { "\"\"" } else { "''" };
        let long = self.rest.strip_prefix(more);
        self.rest = long.unwrap_or(self.rest);
        while let Some(character) = self.next() {
            match character {
                '\\' if !raw => self.escape()?,
                '\n' | '\r' if long.is_none() => break,
                c if c == quote => match long {
                    None => return Ok(()),
                    Some(_) => {
                        if let Some(rest) = self.rest.strip_prefix(more) {
                            self.rest = rest;
                            return Ok(());
                        }
                    }
                },
                _ => {}
            }
        }
        Err("Syntax error: token recognition error".to_owned())
    }

    fn escape(&mut self) -> Result<(), String> {
        let digits = match self.next() {
            Some('a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '"' | '\'' | '\\' | '?' | '`') => 0,
            Some('x' | 'X' | '0'..='3') => 2,
            Some('u') => 4,
            Some('U') => 8,
            _ => return Err("Syntax error: token recognition error".to_owned()),
        };
        for _ in 0..digits {
            if !self.next().is_some_and(|c| c.is_ascii_hexdigit()) {
                return Err("Syntax error: token recognition error".to_owned());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn long_chains_are_refused() {
        for link in [
            ".a", "['a']", ".a()", "[?'a']", ".?a", " + a", "*a", " in a", "<a", " == a", "(a + a)",
        ] {
            assert_eq!(check(&format!("a{}", link.repeat(100))), Ok(()), "{link}");
            assert!(check(&format!("a{}", link.repeat(1000))).is_err(), "{link}");
        }
        let deeper = |inner: String, _| format!("({inner}){}", " + 1".repeat(200));
        let nested = (0..60).fold("1".to_owned(), deeper);
        assert!(check(&nested).is_err());
    }

    #[test]
    fn wide_expressions_are_not() {
        for part in [
            "a.b,",
            "'a.b.c.d.e',",
            r"r'a.\d',",
            "a == b.c && ",
            "a || ",
            r"b'.' + 'a.\'b',",
            "\"\"\"a\"b..\n\"\"\",",
            "f(a.b),",
        ] {
            assert_eq!(check(&format!("[{}a]", part.repeat(2000))), Ok(()), "{part}");
        }
    }

    #[test]
    fn strings_end() {
        for wrong in ["'a", "'a\n'", "'''a''", r"'\q'", r"'\x1'", "\"a"] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }
}
