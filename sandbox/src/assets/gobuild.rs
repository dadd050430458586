//! Builds programs from a Go module of ours.

use std::{
    collections::HashSet,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use super::{
    progress::Progress,
    recipe::{Recipe, Source},
    tool::{self, Tool},
    workplace::Workplace,
};
use crate::error::{Context, Result};

/// Builds every program of the recipe, statically, the same way wherever it is built.
pub(super) fn build(recipe: &Recipe, place: &Workplace, progress: &Progress) -> Result<()> {
    let Source::Go { module, packages, ldflags, patch, .. } = &recipe.source else { return Ok(()) };
    let go = tool::find("go", "install Go 1.26 or later")?;
    for (name, text) in module {
        let path = place.folder.join(name);
        fs::write(&path, text).context(|| format!("write {}", path.display()))?;
    }
    let subject = format!("{} {}", recipe.name, recipe.pin.version);
    let environment: Vec<_> = [("CGO_ENABLED", "0"), ("GOFLAGS", ""), ("GOWORK", "off")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let run = |doing: &str, arguments: Vec<String>, packages: usize| {
        let environment = environment.clone();
        let tool = Tool { subject: &subject, program: &go, arguments, environment, doing };
        tool::run(tool, place, progress, |log| how_far(log, packages))
    };
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();

    run("downloading modules", words("mod download"), 0)?;
    let mut mode = "-mod=readonly";
    if let Some(patch) = patch {
        run("copying modules", words("mod vendor"), 0)?;
        patch.apply(&place.folder.join("vendor"))?;
        mode = "-mod=vendor";
    }
    for (program, package) in recipe.programs.iter().zip(packages) {
        let mut arguments = words("build -v -trimpath -buildvcs=false");
        let output = place.output.join(program.name).display().to_string();
        arguments.extend([mode, "-ldflags"].map(str::to_owned));
        arguments.extend([format!("-s -w{ldflags}"), "-o".to_owned(), output]);
        arguments.push((*package).to_owned());
        let needed = needed(&go, mode, package, &environment, place);
        run(&format!("compiling {}", program.name), arguments, needed)?;
    }
    Ok(())
}

/// How many packages a program is made of; 0 if Go does not say, which the build will then explain.
fn needed(
    go: &Path,
    mode: &str,
    package: &str,
    environment: &[(String, String)],
    place: &Workplace,
) -> usize {
    let mut list = Command::new(go);
    list.args(["list", "-deps", mode, package]).current_dir(&place.folder);
    list.envs(environment.iter().map(|(name, value)| (name, value))).stderr(Stdio::null());
    list.output().map_or(0, |output| String::from_utf8_lossy(&output.stdout).lines().count())
}

/// `go build -v` names each package as it compiles it, but not those it compiled before; a download has a line with blanks.
fn how_far(log: &str, needed: usize) -> String {
    let packages: HashSet<&str> = log.lines().filter(|line| !line.contains(' ')).collect();
    match (packages.len(), needed) {
        (0, _) => String::new(),
        (count, 0) => format!("{count} packages, "),
        (count, needed) => format!("{count} of at most {needed} packages, "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_counts_packages_only() {
        for (log, needed, want) in [
            ("", 9, ""),
            ("go: downloading k8s.io/api v0.36.3\n", 0, ""),
            ("fmt\nk8s.io/api\nfmt\n", 0, "2 packages, "),
            ("fmt\nk8s.io/api\n", 9, "2 of at most 9 packages, "),
        ] {
            assert_eq!(how_far(log, needed), want, "{log:?}");
        }
    }
}
