//! The grammar, and what it refuses.

use kube_rules::Rules;

use super::{Kind, MOST_DEPTH, Node};
// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// A tree in one line: calls and lists in prefix form.
fn show(node: &Node) -> String {
    let below = || node.children().into_iter().map(show).collect::<Vec<_>>().join(" ");
    match &node.kind {
        Kind::Literal(value) => format!("{value:?}"),
        Kind::Ident(name) => name.clone(),
        Kind::Select { field, test, .. } => {
            format!("({} {} {field})", if *test { "has" } else { "." }, below())
        }
        Kind::Call(call) => format!("({} {})", call.function, below()),
        Kind::List { optional, .. } => format!("[{} {optional:?}]", below()),
        Kind::Map(_) => format!("{{{}}}", below()),
        Kind::Struct { name } => format!("{name}{{}}"),
        Kind::Fold(_) => format!("(fold {})", below()),
    }
}

fn tree(source: &str) -> Result<String, String> {
    let texts = |errors: Vec<super::SyntaxError>| {
        let texts = errors.into_iter().map(|error| format!("{:?} {}", error.at, error.text));
        texts.collect::<Vec<_>>().join(", ")
    };
    super::parse(source, Rules::V1_37).map(|node| show(&node)).map_err(texts)
}

#[test]
fn operators_bind_as_in_the_grammar() {
    for (source, want) in [
        ("a + b * c - d", "(_-_ (_+_ a (_*_ b c)) d)"),
        ("a < b + c == d in e", "(@in (_==_ (_<_ a (_+_ b c)) d) e)"),
        ("a || b && c", "(_||_ a (_&&_ b c))"),
        ("a && b && c && d", "(_&&_ (_&&_ a b) (_&&_ c d))"),
        ("a ? b : c ? d : e", "(_?_:_ a b (_?_:_ c d e))"),
        ("-a.b[c]", "(-_ (_[_] (. a b) c))"),
        ("!!!a == --b", "(_==_ (!_ a) b)"),
        ("a.b(c)(d)", "Some(6) Syntax error: mismatched input '(' expecting <EOF>"),
        ("!-a", "Some(2) Syntax error: mismatched input 'a' expecting a number"),
        ("-!a", "Some(1) Syntax error: mismatched input '!' expecting an expression"),
        ("a ? b ? c : d : e", "Some(6) Syntax error: mismatched input '?' expecting ':'"),
    ] {
        assert_eq!(tree(source).unwrap_or_else(|error| error), want, "{source}");
    }
}

#[test]
fn parts_have_their_places() {
    let node = super::parse("a.b(c) + 1", Rules::V1_37).unwrap();
    assert_eq!(node.at, 7);
    assert_eq!(node.children().iter().map(|child| child.at).collect::<Vec<_>>(), [3, 9]);
    assert_eq!(
        super::parse("!.a", Rules::V1_37).unwrap().children().first().map(|child| child.at),
        Some(2)
    );
    assert_eq!(super::parse(" -1", Rules::V1_37).unwrap().at, 1);
}

#[test]
fn lists_may_end_with_a_comma_and_arguments_may_not() {
    for source in [
        "[]",
        "[,]",
        "[a,]",
        "[?a, b]",
        "{}",
        "{,}",
        "{a: b,}",
        "{?a: b}",
        "a.b{c: d,}",
        "f()",
        "a.`b`",
        "a.?`b-c d/e`",
        "a{`b.c`: d}",
    ] {
        assert!(tree(source).is_ok(), "{source}: {:?}", tree(source));
    }
    for source in [
        "[,a]", "[a,,]", "{,a: b}", "f(a,)", "f(,)", "a.f(,)", "a{b}", "a.`b`(c)", "`a`", "`a`{}",
        "`a`.b", "a[`b`]", "{`a`: b}", "a.?b(c)",
    ] {
        assert!(tree(source).is_err(), "{source}");
    }
}

#[test]
fn reserved_names_are_fields() {
    assert_eq!(tree("a.as.var()"), Ok("(var (. a as))".to_owned()));
    assert_eq!(
        tree("as + var(1)").unwrap_err(),
        "Some(0) reserved identifier: as, Some(5) reserved identifier: var"
    );
    assert!(tree("a.in").is_err());
}

#[test]
fn long_chains_are_refused() {
    for link in
        [".a", "['a']", ".a()", "[?'a']", ".?a", " + a", "*a", " in a", "<a", " == a", "+(a + a)"]
    {
        assert!(tree(&format!("a{}", link.repeat(200))).is_ok(), "{link}");
        for count in [250, 10_000] {
            let refused = tree(&format!("a{}", link.repeat(count))).unwrap_err();
            assert!(refused.ends_with(" max recursion depth exceeded"), "{link}: {refused}");
        }
    }
}

#[test]
fn wide_expressions_are_not() {
    for part in [
        "a.b,",
        "'a.b.c.d.e',",
        r"r'a.\d',",
        "a == b.c && ",
        "a || ",
        "!!!!!!!!",
        "--------",
        "f(a.b),",
    ] {
        assert_eq!(tree(&format!("[{}a]", part.repeat(2000))).err(), None, "{part}");
    }
    let refused = tree(&" ".repeat(100_001)).unwrap_err();
    assert!(refused.contains("size: 100001, limit 100000"), "{refused}");
}

#[test]
fn nesting_is_bounded() {
    for (open, close) in
        [("(", ")"), ("[", "]"), ("{a: ", "}"), ("f(", ")"), ("a[", "]"), ("a ? a : ", "")]
    {
        let nested = |depth: usize| format!("{}a{}", open.repeat(depth), close.repeat(depth));
        assert!(tree(&nested(MOST_DEPTH - 1)).is_ok(), "{open}");
        for depth in [MOST_DEPTH, 10_000] {
            let refused = tree(&nested(depth)).unwrap_err();
            assert!(
                refused.ends_with("expression recursion limit exceeded: 250"),
                "{open}: {refused}"
            );
        }
    }
}

/// kube-apiserver reads names in backquotes since 1.37.
#[test]
fn escaped_names_came_with_1_37() {
    for source in ["a.`b`", "a.?`b.c`", "has(a.`b`)"] {
        assert!(super::parse(source, Rules::V1_36).is_err(), "{source}");
        assert!(super::parse(source, Rules::V1_37).is_ok(), "{source}");
    }
}
