//! Go's syntax of regular expressions, as `regexp.Compile` reads it. Source: Go 1.26, `regexp/syntax/parse.go`.

use std::fmt;

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Dot, Hir, Look, Repetition};

use super::class;

/// Groups inside one another.
const MOST_DEPTH: usize = 100;
/// How often something may repeat, also by repetitions within repetitions.
const MOST_REPEATS: u32 = 1000;

/// What is wrong with a pattern, and with which part of it.
#[derive(Debug, PartialEq, Eq)]
pub struct SyntaxError {
    what: &'static str,
    part: String,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: `{}`", self.what, self.part)
    }
}

const BAD_RANGE: &str = "invalid character class range";
const BAD_ESCAPE: &str = "invalid escape sequence";
const BAD_PERL: &str = "invalid or unsupported Perl syntax";
const BAD_COUNT: &str = "invalid repeat count";

type Parsed<T> = Result<T, SyntaxError>;

/// Parses a pattern.
///
/// # Errors
/// Go's words.
pub fn parse(pattern: &str) -> Parsed<Hir> {
    let mut parser = Parser { whole: pattern, rest: pattern, flags: Flags::default() };
    let (hir, _) = parser.alternatives(0)?;
    if parser.rest.is_empty() { Ok(hir) } else { Err(error("unexpected )", pattern)) }
}

fn error(what: &'static str, part: impl Into<String>) -> SyntaxError {
    SyntaxError { what, part: part.into() }
}

#[expect(clippy::struct_excessive_bools, reason = "the flags of the syntax")]
#[derive(Clone, Copy, Default)]
struct Flags {
    folds: bool,
    multi_line: bool,
    dot_all: bool,
    lazy: bool,
}

struct Parser<'p> {
    whole: &'p str,
    rest: &'p str,
    flags: Flags,
}

/// A part and how often its innermost part may repeat.
type Counted = (Hir, u32);

impl<'p> Parser<'p> {
    fn eat(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.rest.chars().next()?;
        self.skip(character.len_utf8());
        Some(character)
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    /// What was read since `before` was the rest.
    fn since(&self, before: &'p str) -> &'p str {
        before.get(..before.len() - self.rest.len()).unwrap_or(before)
    }

    /// Alternatives up to the end or a closing parenthesis, which is left.
    fn alternatives(&mut self, depth: usize) -> Parsed<Counted> {
        if depth > MOST_DEPTH {
            return Err(error("expression nests too deeply", self.whole));
        }
        let mut alternatives = Vec::new();
        let mut most = 1;
        loop {
            let (sequence, repeats) = self.sequence(depth)?;
            alternatives.push(sequence);
            most = most.max(repeats);
            if !self.eat("|") {
                return Ok((Hir::alternation(alternatives), most));
            }
        }
    }

    fn sequence(&mut self, depth: usize) -> Parsed<Counted> {
        let mut parts: Vec<Counted> = Vec::new();
        // The repetition just read, for a second one has nothing to repeat.
        let mut repetition: Option<&'p str> = None;
        while let Some(first) = self.rest.chars().next() {
            let before = self.rest;
            if let Some((min, max)) = self.repetition(first)? {
                let greedy = self.eat("?") == self.flags.lazy;
                if let Some(earlier) = repetition {
                    let operators =
                        earlier.get(..earlier.len() - self.rest.len()).unwrap_or(earlier);
                    return Err(error("invalid nested repetition operator", operators));
                }
                let Some((part, inner)) = parts.pop() else {
                    return Err(error(
                        "missing argument to repetition operator",
                        self.since(before),
                    ));
                };
                parts.push(repeat(part, inner, min, max, greedy, self.since(before))?);
                repetition = Some(before);
                continue;
            }
            repetition = None;
            match first {
                '|' | ')' => break,
                '(' => parts.extend(self.group(depth)?),
                _ => {
                    let parsed = self.atom()?;
                    parts.extend(parsed.into_iter().map(|part| (part, 1)));
                }
            }
        }
        let most = parts.iter().map(|(_, repeats)| *repeats).max().unwrap_or(1);
        Ok((Hir::concat(parts.into_iter().map(|(part, _)| part).collect()), most))
    }

    /// The bounds of a repetition, if one stands here.
    fn repetition(&mut self, first: char) -> Parsed<Option<(u32, Option<u32>)>> {
        let bounds = match first {
            '*' => (0, None),
            '+' => (1, None),
            '?' => (0, Some(1)),
            '{' => return self.counted(),
            _ => return Ok(None),
        };
        self.skip(1);
        Ok(Some(bounds))
    }

    /// `{n}`, `{n,}` or `{n,m}`; anything else is text.
    fn counted(&mut self) -> Parsed<Option<(u32, Option<u32>)>> {
        let Some(end) = self.rest.find('}') else { return Ok(None) };
        let (Some(inside), Some(whole)) = (self.rest.get(1..end), self.rest.get(..=end)) else {
            return Ok(None);
        };
        let (min, max) = match inside.split_once(',') {
            None => (inside, Some(inside)),
            Some((min, "")) => (min, None),
            Some((min, max)) => (min, Some(max)),
        };
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let plain = digits && (text.len() == 1 || !text.starts_with('0'));
            plain.then(|| text.parse::<u32>().unwrap_or(u32::MAX))
        };
        let Some(min) = number(min) else { return Ok(None) };
        let max = match max.map(number) {
            Some(None) => return Ok(None),
            Some(max) => max,
            None => None,
        };
        if min > MOST_REPEATS || max.is_some_and(|max| max > MOST_REPEATS || min > max) {
            return Err(error(BAD_COUNT, whole));
        }
        self.skip(whole.len());
        Ok(Some((min, max)))
    }

    /// A group, or flags for what follows, which are no part.
    fn group(&mut self, depth: usize) -> Parsed<Option<Counted>> {
        let before = self.rest;
        self.skip(1);
        let flags = self.flags;
        if self.eat("?") {
            if self.eat("P<") || self.eat("<") {
                self.name(before)?;
            } else {
                self.rest = before;
                if self.set_flags()? {
                    return Ok(None);
                }
            }
        }
        // Flags set within a group end with it.
        let inner =
            if before.starts_with("(?") && !before.starts_with("(?P") && !before.starts_with("(?<")
            {
                flags
            } else {
                self.flags
            };
        let parsed = self.alternatives(depth + 1)?;
        self.flags = inner;
        if !self.eat(")") {
            return Err(error("missing closing )", self.whole));
        }
        Ok(Some(parsed))
    }

    fn name(&mut self, before: &'p str) -> Parsed<()> {
        let bad = |part: &str| Err(error("invalid named capture", part));
        let Some((name, rest)) = self.rest.split_once('>') else { return bad(before) };
        let length = before.len() - rest.len();
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(word) {
            return bad(before.get(..length).unwrap_or(before));
        }
        self.rest = rest;
        Ok(())
    }

    /// `(?flags)` and `(?flags:`; says whether it was the former.
    fn set_flags(&mut self) -> Parsed<bool> {
        let before = self.rest;
        self.skip(2);
        let mut flags = self.flags;
        let (mut sets, mut any, mut negated) = (true, false, false);
        while let Some(letter) = self.next() {
            let flag = match letter {
                'i' => &mut flags.folds,
                'm' => &mut flags.multi_line,
                's' => &mut flags.dot_all,
                'U' => &mut flags.lazy,
                '-' if sets => {
                    (sets, any, negated) = (false, false, true);
                    continue;
                }
                ':' | ')' if !negated || any => {
                    self.flags = flags;
                    return Ok(letter == ')');
                }
                _ => break,
            };
            (*flag, any) = (sets, true);
        }
        Err(error(BAD_PERL, self.since(before)))
    }

    /// One part that is neither group nor repetition; `\Q..\E` is several.
    fn atom(&mut self) -> Parsed<Vec<Hir>> {
        let before = self.rest;
        let Some(first) = self.next() else { return Ok(Vec::new()) };
        Ok(vec![match first {
            '.' => Hir::dot(if self.flags.dot_all { Dot::AnyChar } else { Dot::AnyCharExceptLF }),
            '^' => Hir::look(if self.flags.multi_line { Look::StartLF } else { Look::Start }),
            '$' => Hir::look(if self.flags.multi_line { Look::EndLF } else { Look::End }),
            '[' => self.bracket(before)?,
            '\\' => return self.escape(before),
            literal => self.literal(literal),
        }])
    }

    fn literal(&self, character: char) -> Hir {
        self.class(class::ranges(&[(character, character)]))
    }

    fn class(&self, class: ClassUnicode) -> Hir {
        let class = if self.flags.folds { class::folded(class) } else { class };
        Hir::class(Class::Unicode(class))
    }

    fn escape(&mut self, before: &'p str) -> Parsed<Vec<Hir>> {
        let look = match self.rest.chars().next() {
            Some('A') => Look::Start,
            Some('z') => Look::End,
            Some('b') => Look::WordAscii,
            Some('B') => Look::WordAsciiNegate,
            Some('C') => return Err(error(BAD_ESCAPE, "\\C")),
            Some('Q') => {
                self.skip(1);
                let end = self.rest.find("\\E");
                let quoted = self.rest.get(..end.unwrap_or(self.rest.len())).unwrap_or_default();
                self.skip(quoted.len() + if end.is_some() { 2 } else { 0 });
                return Ok(quoted.chars().map(|character| self.literal(character)).collect());
            }
            _ => {
                if let Some(class) = self.class_escape(before)? {
                    return Ok(vec![self.class(class)]);
                }
                let character = self.character_escape(before)?;
                return Ok(vec![self.literal(character)]);
            }
        };
        self.skip(1);
        Ok(vec![Hir::look(look)])
    }

    /// `\d`, `\pL`, `\p{Name}` and their opposites, behind the backslash.
    fn class_escape(&mut self, before: &'p str) -> Parsed<Option<ClassUnicode>> {
        let Some(letter) = self.rest.chars().next() else { return Ok(None) };
        if let Some(class) = class::perl(letter) {
            self.skip(1);
            return Ok(Some(class));
        }
        if !matches!(letter, 'p' | 'P') {
            return Ok(None);
        }
        self.skip(1);
        let name = if self.eat("{") {
            let Some((name, rest)) = self.rest.split_once('}') else {
                return Err(error(BAD_RANGE, before));
            };
            self.rest = rest;
            name
        } else {
            let start = self.rest;
            self.next();
            self.since(start)
        };
        let (name, negated) = match name.strip_prefix('^') {
            Some(name) => (name, letter == 'p'),
            None => (name, letter == 'P'),
        };
        let class = class::unicode(name).ok_or_else(|| error(BAD_RANGE, self.since(before)))?;
        let mut class = if self.flags.folds { class::folded(class) } else { class };
        if negated {
            class.negate();
        }
        Ok(Some(class))
    }

    /// A character written with a backslash, which is behind us.
    fn character_escape(&mut self, before: &'p str) -> Parsed<char> {
        let Some(first) = self.next() else {
            return Err(error("trailing backslash at end of expression", ""));
        };
        let octal = |c: char| ('0'..='7').contains(&c);
        let character = match first {
            'a' => Some('\u{7}'),
            'f' => Some('\u{c}'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\u{b}'),
            'x' => self.hexadecimal(),
            // A digit alone would be a reference to a group.
            '0'..='7' if first == '0' || self.rest.starts_with(octal) => {
                let mut value = first.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    let Some(digit) = self.rest.chars().next().filter(|c| octal(*c)) else { break };
                    value = value * 8 + digit.to_digit(8).unwrap_or(0);
                    self.skip(1);
                }
                char::from_u32(value)
            }
            other if other.is_ascii() && !other.is_ascii_alphanumeric() => Some(other),
            _ => None,
        };
        character.ok_or_else(|| error(BAD_ESCAPE, self.since(before)))
    }

    /// `hh` or `{h..}`.
    fn hexadecimal(&mut self) -> Option<char> {
        let digits = if self.eat("{") {
            let (digits, rest) = self.rest.split_once('}')?;
            self.rest = rest;
            digits
        } else {
            let digits = self.rest.get(..2)?;
            self.skip(2);
            digits
        };
        let hexadecimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        u32::from_str_radix(digits, 16).ok().filter(|_| hexadecimal).and_then(char::from_u32)
    }

    /// `[..]`, behind its bracket.
    fn bracket(&mut self, before: &'p str) -> Parsed<Hir> {
        let negated = self.eat("^");
        let mut class = ClassUnicode::empty();
        let mut first = true;
        while first || !self.rest.starts_with(']') {
            first = false;
            if self.rest.is_empty() {
                return Err(error("missing closing ]", before));
            }
            if let Some(named) = self.posix()? {
                class.union(&named);
                continue;
            }
            let start = self.rest;
            if self.eat("\\") {
                if let Some(named) = self.class_escape(start)? {
                    class.union(&if self.flags.folds { class::folded(named) } else { named });
                    continue;
                }
                self.rest = start;
            }
            let low = self.class_character(before)?;
            let mut high = low;
            if self.rest.starts_with('-') && !self.rest.starts_with("-]") && self.rest.len() > 1 {
                self.skip(1);
                high = self.class_character(before)?;
                if high < low {
                    return Err(error(BAD_RANGE, self.since(start)));
                }
            }
            let mut range = ClassUnicode::new([ClassUnicodeRange::new(low, high)]);
            if self.flags.folds {
                range = class::folded(range);
            }
            class.union(&range);
        }
        self.skip(1);
        if negated {
            class.negate();
        }
        Ok(Hir::class(Class::Unicode(class)))
    }

    fn class_character(&mut self, bracket: &'p str) -> Parsed<char> {
        let before = self.rest;
        match self.next() {
            None => Err(error("missing closing ]", bracket)),
            Some('\\') => self.character_escape(before),
            Some(character) => Ok(character),
        }
    }

    /// `[:name:]` or `[:^name:]`, if one stands here.
    fn posix(&mut self) -> Parsed<Option<ClassUnicode>> {
        let Some(end) = self.rest.strip_prefix("[:").and_then(|rest| rest.find(":]")) else {
            return Ok(None);
        };
        let whole = self.rest.get(..end + 4).unwrap_or_default();
        let name = whole.get(2..end + 2).unwrap_or_default();
        let (name, negated) = match name.strip_prefix('^') {
            Some(name) => (name, true),
            None => (name, false),
        };
        let mut class = class::posix(name).ok_or_else(|| error(BAD_RANGE, whole))?;
        if self.flags.folds {
            class = class::folded(class);
        }
        if negated {
            class.negate();
        }
        self.skip(whole.len());
        Ok(Some(class))
    }
}

fn repeat(
    part: Hir,
    inner: u32,
    min: u32,
    max: Option<u32>,
    greedy: bool,
    operator: &str,
) -> Parsed<Counted> {
    // Only counted repetitions multiply: `*`, `+` and `?` do not repeat the part in the program.
    let factor = if operator.starts_with('{') { max.unwrap_or(min).max(1) } else { 1 };
    let total = inner.saturating_mul(factor);
    if total > MOST_REPEATS {
        return Err(error(BAD_COUNT, operator));
    }
    Ok((Hir::repetition(Repetition { min, max, greedy, sub: Box::new(part) }), total))
}
