//! Changes a vendored module before it is built: texts replaced, files added, as a `patch.toml` says.

use std::{fs, path::Path};

use serde::Deserialize;

use super::recipe::SourceFile;
use crate::error::{Context, Error, Result};

/// Changes to one module.
#[derive(Debug)]
pub(super) struct Patch {
    /// The module's path.
    pub package: &'static str,
    /// `patch.toml` first, then the files it adds.
    pub files: Vec<SourceFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Changes {
    replace: Vec<Replace>,
    add: Vec<Add>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Replace {
    file: String,
    text: String,
    with: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Add {
    file: String,
    from: String,
}

impl Patch {
    /// Changes the module under the vendor folder.
    ///
    /// # Errors
    /// If a text does not occur exactly once: the module is not the one the change was made for.
    pub fn apply(&self, vendor: &Path) -> Result<()> {
        let module = vendor.join(self.package);
        let source = |wanted: &str| {
            let file = self.files.iter().find(|(name, _)| *name == wanted);
            file.map(|(_, text)| *text)
                .ok_or_else(|| Error::Invalid(format!("the patch has no file {wanted}")))
        };
        let changes: Changes = toml::from_str(source("patch.toml")?)
            .map_err(|e| Error::Invalid(format!("patch.toml: {e}")))?;
        for Replace { file, text, with } in &changes.replace {
            let path = module.join(file);
            let old = fs::read_to_string(&path).context(|| format!("read {}", path.display()))?;
            if old.matches(text).count() != 1 {
                let name = path.display();
                return Err(Error::Invalid(format!("{name}: not exactly once in it: {text}")));
            }
            let new = old.replacen(text, with, 1);
            fs::write(&path, new).context(|| format!("write {}", path.display()))?;
        }
        for Add { file, from } in &changes.add {
            let path = module.join(file);
            fs::write(&path, source(from)?).context(|| format!("write {}", path.display()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_must_occur_exactly_once() {
        let patch = Patch {
            package: "m",
            files: vec![
                (
                    "patch.toml",
                    "[[replace]]\nfile = 'a'\ntext = 'x'\nwith = 'y'\n[[add]]\nfile = 'b'\nfrom = 'n'",
                ),
                ("n", "new"),
            ],
        };
        for (before, after) in [("1x2", Some("1y2")), ("12", None), ("1x2x", None)] {
            let vendor = tempfile::tempdir().unwrap();
            let module = vendor.path().join("m");
            fs::create_dir(&module).unwrap();
            fs::write(module.join("a"), before).unwrap();
            assert_eq!(patch.apply(vendor.path()).is_ok(), after.is_some(), "{before}");
            if let Some(after) = after {
                assert_eq!(fs::read_to_string(module.join("a")).unwrap(), after);
                assert_eq!(fs::read_to_string(module.join("b")).unwrap(), "new");
            }
        }
    }
}
