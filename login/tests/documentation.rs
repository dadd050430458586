//! docs/login.md says what the program does, and what other pages have for it is understood.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kubectl_oidc::{
    cli::{Cli, Command, parse_exec},
    settings::Settings,
};
use serde_json::Value;

fn documentation() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/login.md");
    fs::read_to_string(path).expect("docs/login.md")
}

#[test]
fn the_table_of_flags_is_the_programs() {
    let text = documentation();
    let (_, table) = text.split_once("--example flags -->\n").expect("the mark");
    let hint = "docs/login.md is behind: cargo run -p kubectl-oidc --example flags";
    assert!(table.trim_end() == kubectl_oidc::reference::markdown(), "{hint}");
}

/// Every provider's kubeconfig is YAML, and its exec section is one that this program understands.
#[test]
fn the_kubeconfigs_work() {
    let text = documentation();
    let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut names = Vec::new();
    for block in blocks.filter(|block| block.contains("exec:")) {
        let parsed: Value =
            serde_saphyr::from_str(block).unwrap_or_else(|e| panic!("{e}: {block}"));
        let users = parsed.get("users").unwrap_or(&parsed);
        for user in users.as_array().expect("a list of users") {
            let exec = &user["user"]["exec"];
            let mut args: Vec<String> = exec["args"]
                .as_array()
                .expect("arguments")
                .iter()
                .map(|arg| arg.as_str().expect("text").to_owned())
                .collect();
            if exec["command"] == "kubectl" {
                assert_eq!(args.remove(0), "oidc");
            }
            let env: Vec<(String, String)> = exec["env"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|pair| {
                    let text = |key: &str| pair[key].as_str().expect("text").to_owned();
                    (text("name"), text("value"))
                })
                .collect();
            let flags = parse_exec(args, &env).unwrap_or_else(|error| panic!("{error}: {block}"));
            Settings::new(&flags.connect).unwrap_or_else(|error| panic!("{error}: {block}"));
            names.push(user["name"].as_str().expect("a name").to_owned());
        }
    }
    assert_eq!(
        names,
        [
            "oidc",
            "pipeline",
            "oidc-admin",
            "keycloak",
            "kanidm",
            "entra",
            "google",
            "okta",
            "dex",
            "github"
        ]
    );
}

/// The commands that the page names exist.
#[test]
fn the_commands_exist() {
    let text = documentation();
    let definition = Cli::definition();
    let mut found = 0;
    for rest in text.split("`kubectl oidc ").skip(1) {
        let name = rest.split([' ', '`']).next().unwrap_or_default();
        if !name.starts_with('<') {
            assert!(definition.find_subcommand(name).is_some(), "{name}");
            found += 1;
        }
    }
    assert!(found >= 5, "{found}");
    let words = [
        "kubectl-oidc",
        "setup",
        "--server=https://a",
        "--oidc-issuer-url=https://i",
        "--oidc-client-id=c",
    ];
    let parsed = Cli::read(words).expect("the page's first command");
    assert!(matches!(parsed.command, Some(Command::Setup(_))));
}

/// The pages of docs/ and its folders.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let (mut folders, mut pages) = (vec![root], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages
}

/// The words that a shell makes of a line, up to the next command; what it would put in for `$(…)` is an `x`.
fn words(line: &str) -> Vec<String> {
    let mut bare = line.to_owned();
    while let Some((before, rest)) = bare.split_once("$(") {
        let (_, after) = rest.rsplit_once(')').expect("the end of a substitution");
        bare = format!("{before}x{after}");
    }
    let mut words = vec![String::new()];
    for (number, part) in bare.split('"').enumerate() {
        let mut pieces = if number % 2 == 1 { vec![part] } else { part.split(' ').collect() };
        let first = pieces.remove(0);
        words.last_mut().expect("a word").push_str(first);
        words.extend(pieces.into_iter().map(str::to_owned));
    }
    words.retain(|word| !word.is_empty());
    words.into_iter().take_while(|word| word != "&&").collect()
}

/// Every command of the plugin's in a block of a page is one that it understands, with its flags.
#[test]
fn the_commands_of_all_pages_are_understood() {
    let mut found = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page").replace("\\\n", " ");
        for line in text.lines().map(|line| line.trim().trim_start_matches("$ ")) {
            let Some(arguments) = line.strip_prefix("kubectl oidc ") else { continue };
            let mut words = words(arguments);
            words.insert(0, "kubectl-oidc".to_owned());
            let read = Cli::read(words.clone());
            assert!(read.is_ok(), "{}: {words:?}: {:?}", page.display(), read.err());
            found += 1;
        }
    }
    assert!(found >= 12, "{found} commands found: are they written otherwise now?");
}
