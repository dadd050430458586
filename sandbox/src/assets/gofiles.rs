//! Takes files out of published Go modules, whose hashes a module of ours pins.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;

use super::{
    progress::Progress,
    recipe::{ModuleFile, Recipe, SourceFile},
    tool,
    workplace::Workplace,
};
use crate::error::{Context, Error, Result};

/// What `go mod download -json` says of one module.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Downloaded {
    path: String,
    dir: Option<PathBuf>,
    error: Option<String>,
}

/// Downloads the modules and copies the files into the recipe's folder.
pub(super) fn copy(
    recipe: &Recipe,
    module: &[SourceFile],
    files: &[ModuleFile],
    place: &Workplace,
    progress: &Progress,
) -> Result<()> {
    let go = tool::find("go", "install Go 1.26 or later")?;
    for (name, text) in module {
        let path = place.folder.join(name);
        fs::write(&path, text).context(|| format!("write {}", path.display()))?;
    }
    progress.line(&format!("{} {}: downloading modules", recipe.name, recipe.pin.version));
    let folders = download(&go, &place.folder)?;
    for file in files {
        let folder = folders
            .get(file.module)
            .ok_or_else(|| Error::Invalid(format!("{}: no module {}", recipe.name, file.module)))?;
        let (from, to) = (folder.join(file.path), place.output.join(file.name));
        fs::copy(&from, &to).context(|| format!("copy {}", from.display()))?;
    }
    Ok(())
}

fn download(go: &Path, folder: &Path) -> Result<HashMap<String, PathBuf>> {
    let mut command = Command::new(go);
    command.args(["mod", "download", "-json"]).current_dir(folder);
    command.env("GOFLAGS", "-mod=readonly").env("GOWORK", "off");
    let output = command.output().context(|| format!("run {}", go.display()))?;
    let mut folders = HashMap::new();
    for module in serde_json::Deserializer::from_slice(&output.stdout).into_iter() {
        let module: Downloaded =
            module.map_err(|e| Error::Invalid(format!("go mod download -json: {e}")))?;
        match (module.dir, module.error) {
            (Some(dir), None) => drop(folders.insert(module.path, dir)),
            (_, error) => {
                let error = error.unwrap_or_else(|| "no folder".to_owned());
                return Err(Error::Invalid(format!("download of {}: {error}", module.path)));
            }
        }
    }
    Ok(folders)
}
