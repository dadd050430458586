//! What an error may say to a person.

/// What libraries and the operating system say, and no person reads.
const RAW: [&str; 21] = [
    "os error",
    "line 1 column",
    "at line",
    "expected value",
    "invalid type",
    "missing field",
    "relative URL",
    "without a base",
    "Other(",
    "Error(",
    "InvalidCertificate",
    "UnknownIssuer",
    "CaUsed",
    "io: ",
    "::",
    "timeout:",
    "unexpected end",
    "EOF",
    "Some(",
    "None",
    "stream did not contain",
];

/// What tells a person what to do: a flag, a command, a variable, or one of these words.
const WAYS_OUT: [&str; 29] = [
    " --",
    "(--",
    "kubectl ",
    "$",
    "chmod ",
    "sudo ",
    "set the clock",
    "clock right",
    "try again",
    "run the command again",
    "log in again",
    "administrator",
    "that writes it must",
    "register ",
    "free the port",
    "correct it",
    "correct that",
    "correct its ",
    "paste ",
    "finish that login",
    "-v shows",
    "is the address right",
    "in the kubeconfig",
    "set its apiVersion",
    "write https://",
    "remove ",
    "does the program",
    "age-keygen",
    "to log in",
];

/// Whether an error says what happened in plain words, and what to do.
#[track_caller]
pub fn check(text: &str) {
    for raw in RAW {
        assert!(!text.contains(raw), "{raw:?} is a library's: {text}");
    }
    let helps = text.starts_with("--") || WAYS_OUT.iter().any(|way| text.contains(way));
    assert!(helps, "nothing says what to do: {text}");
    assert!(!text.contains('\n') && text.len() < 600, "one line: {text}");
}
