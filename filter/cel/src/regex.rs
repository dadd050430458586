//! Regular expressions as Go's `regexp` has them.
//!
//! The syntax is Go's ([`syntax`]), not that of the `regex` crate: they differ in what they accept and in what classes mean.
//! The matching is `regex-automata`'s Pike machine: linear time, and Go's leftmost-first choice.

mod class;
mod syntax;
mod tables;

use regex_automata::nfa::thompson::{self, pikevm::PikeVM};

use crate::{
    function::{integer, text},
    meter::Meter,
    value::{EvalResult, Value},
};

/// Bytes of a compiled expression beyond which it is refused. Upstream allows far more, which no rule for a claim needs.
const MOST_BYTES: usize = 2 << 20;

/// What is done with an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Matches,
    Find,
    FindAll,
}

impl Operation {
    /// That of the function of this name.
    pub fn of(function: &str) -> Option<Self> {
        match function {
            "matches" => Some(Self::Matches),
            "find" => Some(Self::Find),
            "findAll" => Some(Self::FindAll),
            _ => None,
        }
    }
}

/// A compiled expression.
#[derive(Debug)]
pub struct Regex {
    machine: PikeVM,
}

/// Compiles a pattern.
///
/// # Errors
/// Go's text.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    let parsed =
        syntax::parse(pattern).map_err(|error| format!("error parsing regexp: {error}"))?;
    let config = thompson::Config::new()
        .nfa_size_limit(Some(MOST_BYTES))
        .which_captures(thompson::WhichCaptures::Implicit);
    let too_large = |_| "error parsing regexp: expression too large".to_owned();
    let nfa =
        thompson::Compiler::new().configure(config).build_from_hir(&parsed).map_err(too_large)?;
    let machine = PikeVM::new_from_nfa(nfa).map_err(too_large)?;
    Ok(Regex { machine })
}

/// A regular expression of Go's, for what is no CEL.
#[derive(Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// Compiles one.
    ///
    /// # Errors
    /// Go's text.
    pub fn compile(expression: &str) -> Result<Self, String> {
        compile(expression).map(Self)
    }

    /// Whether a part of the text matches (`regexp.MatchString`).
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        let machine = &self.0.machine;
        machine.is_match(&mut machine.create_cache(), text)
    }
}

impl Regex {
    /// Bytes that it holds.
    pub fn memory(&self) -> usize {
        self.machine.get_nfa().memory_usage()
    }

    /// Runs the operation with this pattern, whatever stands in its place among the arguments.
    ///
    /// # Errors
    /// If the arguments have the wrong types, or the evaluation may not work that much.
    pub fn call<'a>(
        &self,
        meter: &mut Meter,
        operation: Operation,
        arguments: &[Value<'a>],
    ) -> EvalResult<'a> {
        let text = text(arguments, 0)?;
        let states = self.machine.get_nfa().states().len();
        meter.work(text.len().saturating_mul(1 + states / 8))?;
        let mut cache = self.machine.create_cache();
        match operation {
            Operation::Matches => Ok(Value::Bool(self.machine.is_match(&mut cache, text))),
            Operation::Find => {
                let found =
                    self.machine.find(&mut cache, text).and_then(|found| text.get(found.range()));
                Ok(Value::string(found.unwrap_or_default()))
            }
            Operation::FindAll => {
                let most = if arguments.len() > 2 { integer(arguments, 2)? } else { -1 };
                let most = usize::try_from(most).unwrap_or(usize::MAX);
                let found = self.machine.find_iter(&mut cache, text);
                Ok(Value::strings(found.take(most).filter_map(|found| text.get(found.range()))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn find(pattern: &str, text: &str) -> Option<String> {
        let regex = compile(pattern).expect(pattern);
        let mut cache = regex.machine.create_cache();
        regex.machine.find(&mut cache, text).map(|found| text[found.range()].to_owned())
    }

    /// Where Go and the `regex` crate differ, Go counts.
    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        for (pattern, text, want) in [
            (r"\d+", "٣42", Some("42")), // ASCII digits alone
            (r"\w+", "éa", Some("a")),
            (r"\s", "\u{b}x y", Some(" ")), // no vertical tab
            (r"(?i)k", "\u{212a}", Some("\u{212a}")), // the Kelvin sign folds to k
            (r"\pL+", "1é2", Some("é")),
            (r"\p{Greek}+", "aβγ", Some("βγ")),
            (r"\PL+", "é12", Some("12")),
            (r"[[:alpha:]-]+", "1a-b2", Some("a-b")),
            (r"[a&&b]+", "x&&", Some("&&")), // no class operations
            (r"\Qa.b\E+", "a.bb", Some("a.bb")),
            (r"a{,2}", "a{,2}", Some("a{,2}")), // no repetition without a minimum
            (r"$", "a\n", Some("")),
            (r"(?m)^b$", "a\nb\nc", Some("b")),
            (r"(?U)a+", "aaa", Some("a")),
            (r"(?s).", "\n", Some("\n")),
            (r".", "\n", None),
            (r"[^a]", "\n", Some("\n")),
            (r"(|a)+", "aaa", Some("")),
            (r"\x{1F600}", "😀", Some("😀")),
            (r"\101", "A", Some("A")),
        ] {
            assert_eq!(find(pattern, text).as_deref(), want, "{pattern}");
        }
    }

    #[test]
    fn bad_patterns_are_refused_with_gos_words() {
        for (pattern, want) in [
            ("(", "missing closing ): `(`"),
            (")", "unexpected ): `)`"),
            ("[a", "missing closing ]: `[a`"),
            ("a**", "invalid nested repetition operator: `**`"),
            ("*", "missing argument to repetition operator: `*`"),
            ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
            (r"\1", r"invalid escape sequence: `\1`"),
            (r"\p{Nope}", r"invalid character class range: `\p{Nope}`"),
            ("[z-a]", "invalid character class range: `z-a`"),
            ("a{1001}", "invalid repeat count: `{1001}`"),
            ("(?P<1n", "invalid named capture: `(?P<1n`"),
            ("\\", "trailing backslash at end of expression: ``"),
        ] {
            assert_eq!(
                compile(pattern).err(),
                Some(format!("error parsing regexp: {want}")),
                "{pattern}"
            );
        }
    }
}
