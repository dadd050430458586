//! The project's pages: those of docs/ with its folders.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The Markdown files of docs/, by name.
///
/// # Panics
/// If they cannot be read.
#[must_use]
pub fn pages() -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs"), &mut found);
    found.sort();
    found
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// The blocks of a page that are fenced with three backticks and this word.
#[must_use]
pub fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("\n```{language}\n");
    page.split(&fence).skip(1).filter_map(|rest| rest.split("\n```").next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_those_of_the_language() {
        let page = "a\n\n```yaml\na: 1\nb: 2\n```\n\n```sh\nls\n```\n\n```yaml\nc: 3\n```\n";
        assert_eq!(blocks(page, "yaml"), ["a: 1\nb: 2", "c: 3"]);
    }

    #[test]
    fn folders_are_looked_into() {
        let pages = pages();
        for name in ["docs/quickstart.md", "docs/use/providers/dex.md"] {
            assert!(pages.iter().any(|page| page.ends_with(name)), "{name}");
        }
    }
}
