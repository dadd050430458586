//! Writes the table of flags into docs/login.md, or prints it: the documentation's reference comes from the program.

use std::{env, fs, process};

fn main() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/login.md");
    if env::args().nth(1).as_deref() == Some("--print") {
        println!("{}", kubectl_oidc::reference::markdown());
        return;
    }
    let written = fs::read_to_string(path).and_then(|text| {
        let mark = "<!-- written by: cargo run -p kubectl-oidc --example flags -->\n";
        let (before, _) = text.split_once(mark).unwrap_or((&text, ""));
        fs::write(path, format!("{before}{mark}{}\n", kubectl_oidc::reference::markdown()))
    });
    if let Err(error) = written {
        eprintln!("flags: {path}: {error}");
        process::exit(1);
    }
}
