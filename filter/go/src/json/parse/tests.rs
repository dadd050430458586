//! The JSON parser: Go's texts, repairs, and strings that stay where they are.

use super::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const LIMITS: Limits = Limits { depth: 3, values: 8 };

fn string(text: &[u8]) -> Option<String> {
    match parse(text, LIMITS) {
        Ok(Value::String(string)) => Some(string.into_owned()),
        _ => None,
    }
}

#[test]
fn strings_are_repaired_as_in_go() {
    for (text, want) in [
        (&br#""a\u00e9\n\/""#[..], Some("a\u{e9}\n/")),
        (b"\"\xff\xfe\"", Some("\u{fffd}\u{fffd}")), // one for each byte
        (b"\"\xe2\x82\"", Some("\u{fffd}\u{fffd}")), // a cut character too
        (br#""\ud83d\ude00""#, Some("\u{1f600}")),
        (br#""\ud83dx""#, Some("\u{fffd}x")),
        (br#""\ude00""#, Some("\u{fffd}")),
        (br#""\ud83d\u0041""#, Some("\u{fffd}A")), // the second escape is read again
        (br#""\ud83d\ud83d\ude00""#, Some("\u{fffd}\u{1f600}")),
        (b"\"\x7f\"", Some("\u{7f}")), // DEL is no control character for JSON
        (b"\"\n\"", None),
        (br#""\x""#, None),
        (br#""\u12g4""#, None),
        (br#""\u123"#, None),
        (b"\"abc", None),
    ] {
        assert_eq!(string(text).as_deref(), want, "{}", String::from_utf8_lossy(text));
    }
}

#[test]
fn a_string_ends_at_the_first_byte_that_may_end_it() {
    let ends = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
    let near = [0x1f, b' ', b'!', b'"', b'#', b'[', b'\\', b']', 0x7f, 0x80, 0xa2, 0xdc, 0xff];
    for length in 0..=20 {
        let mut bytes = vec![b'x'; length];
        assert_eq!(plain_bytes(&bytes), None);
        for at in 0..length {
            for one in near {
                for next in near {
                    bytes.fill(b'x');
                    bytes[at] = one;
                    if let Some(behind) = bytes.get_mut(at + 1) {
                        *behind = next;
                    }
                    let want = bytes.iter().position(ends);
                    assert_eq!(plain_bytes(&bytes), want, "{bytes:x?}");
                }
            }
        }
    }
}

#[test]
fn a_value_that_is_read_in_place_is_the_same() {
    for text in [
        &br#" {"a": ["b", "c\u0064", {"e\n": null, "a": true}], "f": -1.5e3, "a": ""} "#[..],
        b"[\"\xff\", \"a\"]",
        b"[\"a\", \"b]",
        b"{\"a\": \"\n\"}",
        b"[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]",
    ] {
        assert_eq!(parse_in_place(text, LIMITS), parse(text, LIMITS));
    }
    let Ok(Node::Array(items)) = parse_in_place(br#"["a", "\u0061"]"#, LIMITS) else {
        panic!("an array");
    };
    let is_in_place = |item: &Node<'_>| matches!(item, Node::String(Cow::Borrowed("a")));
    assert_eq!(items.iter().map(is_in_place).collect::<Vec<_>>(), [true, false]);
}

/// The texts are those of Go 1.26.
#[test]
fn documents() {
    let end = "unexpected end of JSON input";
    for (text, want) in [
        (&b" {\"a\" : [1, true,null,false] }\r\n"[..], ""),
        (b"[]", ""),
        (b"{}", ""),
        (b"-0.5e+3", ""),
        (b"", end),
        (b"{", end),
        (b"[1", end),
        (b"{\"a\":", end),
        (b"[1,]", "invalid character ']' looking for beginning of value"),
        (b"{\"a\":1,}", "invalid character '}' looking for beginning of object key string"),
        (b"{a:1}", "invalid character 'a' looking for beginning of object key string"),
        (b"{\"a\" 1}", "invalid character '1' after object key"),
        (b"{\"a\":1 2}", "invalid character '2' after object key:value pair"),
        (b"[1 2]", "invalid character '2' after array element"),
        (b"[01]", "invalid character '1' after array element"),
        (b"{} {}", "invalid character '{' after top-level value"),
        (b"nul", "invalid character ' ' in literal null (expecting 'l')"), // Go steps over the end
        (b"nuLl", "invalid character 'L' in literal null (expecting 'l')"),
        (b"tRue", "invalid character 'R' in literal true (expecting 'r')"),
        (b"-", "invalid character ' ' in numeric literal"),
        (b"1.x", "invalid character 'x' after decimal point in numeric literal"),
        (b"1e", "invalid character ' ' in exponent of numeric literal"),
        (b"\"\\x\"", "invalid character 'x' in string escape code"),
        (b"\"\\u12g4\"", "invalid character 'g' in \\u hexadecimal character escape"),
        (b"\"\t\"", "invalid character '\\t' in string literal"),
        (b"'", "invalid character '\\'' looking for beginning of value"),
        (b"[\"a\" \"b\"]", "invalid character '\"' after array element"),
        (b"\xef\xbb\xbf{}", "invalid character '\u{ef}' looking for beginning of value"), // a BOM
        (b"[[[[1]]]]", "nested too deeply"),
        (b"[1,2,3,4,5,6,7,8]", "too many values"),
    ] {
        let got = parse(text, LIMITS).map_or_else(|error| error.to_string(), |_| String::new());
        assert_eq!(got, want, "{}", String::from_utf8_lossy(text));
    }
}

#[test]
fn the_last_duplicate_counts_and_all_are_kept() {
    let Ok(Value::Object(object)) = parse(br#"{"a":1,"b":2,"a":null}"#, LIMITS) else {
        panic!("an object");
    };
    assert_eq!(object.get("a"), Some(&Value::Null));
    assert_eq!(object.get("A"), None);
    assert_eq!(object.members().count(), 3);
    assert!(object.has_duplicates());
}
