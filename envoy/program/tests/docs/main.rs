//! The generated documentation is what the source says. `UPDATE_DOCS=1 cargo test -p kube-oidc-gateway --test docs` writes it.

mod access;
mod causes;
mod chart;
mod configuration;
mod metrics;
mod monitoring;
mod portal;
mod versions;

use std::{env, fs, path::PathBuf};

/// The project's root.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The pages of docs/ and its folders.
fn pages() -> Vec<PathBuf> {
    let (mut folders, mut pages) = (vec![root().join("docs")], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages
}

#[track_caller]
fn hold(path: &str, text: &str) {
    let file = root().join(path);
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&file, text).unwrap();
    }
    let stored = fs::read_to_string(&file).unwrap_or_default();
    let differs = stored.lines().zip(text.lines()).find(|(stored, now)| stored != now);
    assert!(
        stored == text,
        "{path} is not what the source says; UPDATE_DOCS=1 writes it: {differs:?}"
    );
}
