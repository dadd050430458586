//! Classes of characters as Go has them: Perl's and POSIX's are ASCII, Unicode's go by name.

use regex_syntax::{
    ast::{self, Ast, Position, Span},
    hir::{Class, ClassUnicode, ClassUnicodeRange, HirKind, translate::Translator},
};

/// Of these ranges.
pub fn ranges(of: &[(char, char)]) -> ClassUnicode {
    ClassUnicode::new(of.iter().map(|(from, to)| ClassUnicodeRange::new(*from, *to)))
}

/// `\d`, `\s`, `\w` and their opposites, by letter.
pub fn perl(letter: char) -> Option<ClassUnicode> {
    let mut class = match letter.to_ascii_lowercase() {
        'd' => ranges(&[('0', '9')]),
        's' => ranges(&[('\t', '\n'), ('\u{c}', '\r'), (' ', ' ')]),
        'w' => ranges(&[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')]),
        _ => return None,
    };
    if letter.is_ascii_uppercase() {
        class.negate();
    }
    Some(class)
}

/// `[:name:]`.
pub fn posix(name: &str) -> Option<ClassUnicode> {
    Some(match name {
        "alnum" => ranges(&[('0', '9'), ('A', 'Z'), ('a', 'z')]),
        "alpha" => ranges(&[('A', 'Z'), ('a', 'z')]),
        "ascii" => ranges(&[('\0', '\u{7f}')]),
        "blank" => ranges(&[('\t', '\t'), (' ', ' ')]),
        "cntrl" => ranges(&[('\0', '\u{1f}'), ('\u{7f}', '\u{7f}')]),
        "digit" => ranges(&[('0', '9')]),
        "graph" => ranges(&[('!', '~')]),
        "lower" => ranges(&[('a', 'z')]),
        "print" => ranges(&[(' ', '~')]),
        "punct" => ranges(&[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')]),
        "space" => ranges(&[('\t', '\r'), (' ', ' ')]),
        "upper" => ranges(&[('A', 'Z')]),
        "word" => ranges(&[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')]),
        "xdigit" => ranges(&[('0', '9'), ('A', 'F'), ('a', 'f')]),
        _ => return None,
    })
}

/// The general category or script of that name.
pub fn unicode(name: &str) -> Option<ClassUnicode> {
    if name == "Any" {
        return Some(ranges(&[('\0', char::MAX)]));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ' ');
    if name.is_empty() || !name.chars().all(plain) {
        return None;
    }
    // The tree that the library's parser would make of `\p{name}`: the parser itself stays out of the filter.
    let class = Ast::class_unicode(ast::ClassUnicode {
        span: Span::splat(Position::new(0, 1, 1)),
        negated: false,
        kind: ast::ClassUnicodeKind::Named(name.to_owned()),
    });
    match Translator::new().translate("", &class).ok()?.into_kind() {
        HirKind::Class(Class::Unicode(class)) => Some(class),
        // A class of one character comes back as that character.
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).ok()?;
            text.chars().next().map(|c| ranges(&[(c, c)]))
        }
        _ => None,
    }
}

/// The class with everything that differs from it in case alone.
pub fn folded(mut class: ClassUnicode) -> ClassUnicode {
    // Fails only without the tables, which are compiled in.
    let _ = class.try_case_fold_simple();
    class
}
