//! Paths as people write them in flags and files.

use std::path::PathBuf;

use directories::BaseDirs;

/// A path, none if the text is blank; `~` at its beginning is the home folder (no shell expands a kubeconfig's arguments).
#[must_use]
pub fn path_of(text: &str) -> Option<PathBuf> {
    let text = Some(text.trim()).filter(|text| !text.is_empty())?;
    match (text.strip_prefix('~'), BaseDirs::new()) {
        (Some(""), Some(dirs)) => Some(dirs.home_dir().to_owned()),
        (Some(rest), Some(dirs)) if rest.starts_with(['/', '\\']) => {
            Some(dirs.home_dir().join(&rest[1..]))
        }
        _ => Some(PathBuf::from(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tilde_is_the_home_folder() {
        let home = BaseDirs::new().unwrap().home_dir().to_owned();
        assert_eq!(path_of("~/a/b"), Some(home.join("a/b")));
        assert_eq!(path_of("/a/~b"), Some(PathBuf::from("/a/~b")));
        assert_eq!(path_of("~b"), Some(PathBuf::from("~b")));
    }
}
