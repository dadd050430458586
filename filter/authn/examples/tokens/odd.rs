//! Values that nobody should send, as JSON text: what Go's decoder and go-oidc make of them is the question.

/// For any claim.
pub const VALUES: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1.5",
    "9007199254740993",
    "1e400",
    "-1e-400",
    "123456789012345678901234567890",
    r#""""#,
    r#"" ""#,
    r#""null""#,
    r#""a""#,
    r#""\u0000""#,
    r#""line\nend""#,
    r#"" edge ""#,
    r#""system:masters""#,
    r#""J\u00fcrgen \ud83d\ude00""#,
    r#""\ud800""#,
    r#""\ud800\u0041""#,
    r#""\/\b\f\r\t\\\"""#,
    r#""%41%zz""#,
    r#""e\u0301""#,
    "[]",
    "[null]",
    r#"[""]"#,
    r#"["a"]"#,
    r#"["a","b","a",""]"#,
    r#"["a",1]"#,
    r#"["a",null,"b"]"#,
    r#"["a",["b"]]"#,
    "[[]]",
    "{}",
    r#"{"a":"b"}"#,
    r#"{"a":1,"a":2}"#,
];

/// For `exp`, `nbf` and `iat`; `NOW` is 4,000,000,000.
pub const TIMES: &[&str] = &[
    "4000000000",
    "3999999999",
    "4000000001",
    "4000000000.0",
    "4000000000.9",
    "3999999999.999",
    "4e9",
    "4.0000006E+9",
    "40000000000e-1",
    "4000000059",
    "4000000060",
    "4000000061",
    "4000000060.5",
    r#""4000000060""#,
    r#""4000000600""#,
    r#""4000000061""#,
    r#""4.0000006e9""#,
    r#"" 4000000600""#,
    r#""4000000600 ""#,
    r#""+4000000600""#,
    r#""04000000600""#,
    r#""0xEE6B2A58""#,
    r#""4_000_000_600""#,
    r#""Inf""#,
    r#""NaN""#,
    r#""""#,
    r#""now""#,
    "null",
    "true",
    "[]",
    "[4000000600]",
    "{}",
    "0",
    "-0",
    "-0.0",
    "-1",
    "0.5",
    "1e10",
    "1e18",
    "9223372036854775807",
    "9223372036854775808",
    "9223371974719179007",
    "9223371974719179008",
    "9.2e18",
    "9.3e18",
    "1e19",
    "1e300",
    "1e308",
    "1e309",
    "-1e309",
    "1e-400",
    "-9223372036854775808",
    "-9223372036854775809",
    "253402300800",
];

/// For `aud`; `AUD` stands for an accepted audience.
pub const AUDIENCES: &[&str] = &[
    r#""AUD""#,
    r#"["AUD"]"#,
    r#"["x","AUD"]"#,
    r#"["AUD","AUD"]"#,
    r#"["x","y"]"#,
    r#""x""#,
    r#""aud""#,
    r#""AUD ""#,
    r#"["AUD",null]"#,
    r#"["AUD",1]"#,
    r#"[["AUD"]]"#,
    r#"{"AUD":"AUD"}"#,
    "[]",
    "null",
    r#""""#,
    "1",
    r#"["AUD",""]"#,
    "true",
];

/// For the whole payload, around or in place of the object `{CLAIMS}`.
pub const PAYLOADS: &[&str] = &[
    "",
    "null",
    "true",
    "1",
    "\"{}\"",
    "[]",
    "[{CLAIMS}]",
    "{}",
    "{CLAIMS}}",
    "{CLAIMS}{}",
    "{CLAIMS} x",
    "{CLAIMS} \n\t\r",
    " \n{CLAIMS}",
    "\u{feff}{CLAIMS}",
    "\u{a0}{CLAIMS}",
    "{CLAIMS}\0",
    "{{CLAIMS}",
    "{,\"a\":1}",
    "{MEMBERS,}",
    "{MEMBERS,\"a\"}",
    "{MEMBERS,\"a\":}",
    "{MEMBERS,a:1}",
    "{MEMBERS,'a':1}",
    "{MEMBERS,\"a\":01}",
    "{MEMBERS,\"a\":+1}",
    "{MEMBERS,\"a\":.5}",
    "{MEMBERS,\"a\":1.}",
    "{MEMBERS,\"a\":1e}",
    "{MEMBERS,\"a\":-}",
    "{MEMBERS,\"a\":0x10}",
    "{MEMBERS,\"a\":NaN}",
    "{MEMBERS,\"a\":Infinity}",
    "{MEMBERS,\"a\":True}",
    "{MEMBERS,\"a\":nul}",
    "{MEMBERS,\"a\":\"\u{1}\"}",
    "{MEMBERS,\"a\":\"\n\"}",
    "{MEMBERS,\"a\":\"\\x41\"}",
    "{MEMBERS,\"a\":\"\\u12\"}",
    "{MEMBERS,\"a\":\"\\ud800\\ud800\"}",
    "{MEMBERS,\"a\":\"\\uDC00\"}",
    "{MEMBERS,\"a\":\"unterminated}",
    "{MEMBERS,\"a\":[1,]}",
    "{MEMBERS,\"a\":[1 2]}",
    "{MEMBERS,\"a\":[}",
    "{MEMBERS /* x */}",
    "{MEMBERS} // x",
    "{MEMBERS,\"\":1,\"\":2}",
    "{MEMBERS,\"\\u0069ss\":\"https://elsewhere.example\"}",
    "{MEMBERS,\"a\":\"INVALID\"}",
    "{MEMBERS,\"INVALID\":1}",
    "{MEMBERS,\"sub\":\"jINVALID\"}",
    "{MEMBERS,\"__proto__\":{\"x\":1},\"constructor\":null}",
    "{MEMBERS,\"a\":DEEP10}",
    "{MEMBERS,\"a\":DEEP40}",
    "{MEMBERS,\"a\":DEEP400}",
    "{MEMBERS,\"a\":WIDE300}",
];

/// The same beyond the bounds of anybody.
pub const HUGE_PAYLOADS: &[&str] = &[
    "{MEMBERS,\"a\":DEEP11000}",
    "{MEMBERS,\"a\":WIDE5000}",
    "{MEMBERS,\"a\":LONG9000}",
    "{MEMBERS,\"a\":LONG40000}",
];

/// A text of [`PAYLOADS`] with its words replaced. `INVALID` becomes bytes that are not UTF-8.
pub fn payload(template: &str, claims: &str) -> Vec<u8> {
    let members = claims.trim_start_matches('{').trim_end_matches('}');
    let mut text = template.replace("{CLAIMS}", claims).replace("MEMBERS", members);
    for (word, make) in [("DEEP", deep as fn(usize) -> String), ("WIDE", wide), ("LONG", long)] {
        while let Some((before, after)) = text.split_once(word) {
            let digits = after.trim_start_matches(|c: char| c.is_ascii_digit());
            let count = after[..after.len() - digits.len()].parse().expect("a count follows");
            text = format!("{before}{}{digits}", make(count));
        }
    }
    let mut bytes = Vec::new();
    for (index, piece) in text.split("INVALID").enumerate() {
        if index > 0 {
            bytes.extend([0xff, 0xc0, 0xaf, 0xed, 0xa0, 0x80]);
        }
        bytes.extend(piece.bytes());
    }
    bytes
}

fn deep(levels: usize) -> String {
    "[".repeat(levels) + &"]".repeat(levels)
}

fn wide(values: usize) -> String {
    format!("[{}0]", "0,".repeat(values - 1))
}

fn long(length: usize) -> String {
    format!("\"{}\"", "x".repeat(length))
}
