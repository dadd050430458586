//! Builds programs from a Go module of ours.

use std::{collections::HashSet, fs};

use super::{
    Progress,
    cache::Workplace,
    recipe::{Recipe, Source},
    tool::{self, Tool},
};
use crate::error::{Context, Result};

/// Builds every program of the recipe, statically, the same way wherever it is built.
pub(super) fn build(recipe: &Recipe, place: &Workplace, progress: &Progress) -> Result<()> {
    let Source::Go { module, packages, ldflags, patch } = &recipe.source else { return Ok(()) };
    let go = tool::find("go", "install Go 1.26 or later")?;
    for (name, text) in module {
        let path = place.folder.join(name);
        fs::write(&path, text).context(|| format!("write {}", path.display()))?;
    }
    let subject = format!("{} {}", recipe.name, recipe.pin.version);
    let environment: Vec<_> = [("CGO_ENABLED", "0"), ("GOFLAGS", ""), ("GOWORK", "off")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let run = |doing: &str, arguments: Vec<String>| {
        let environment = environment.clone();
        let tool = Tool { subject: &subject, program: &go, arguments, environment, doing };
        tool::run(tool, place, progress, how_far)
    };
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();

    run("downloading modules", words("mod download"))?;
    let mut mode = "-mod=readonly";
    if let Some(patch) = patch {
        run("copying modules", words("mod vendor"))?;
        patch.apply(&place.folder.join("vendor"))?;
        mode = "-mod=vendor";
    }
    for (program, package) in recipe.programs.iter().zip(packages) {
        let mut arguments = words("build -v -trimpath -buildvcs=false");
        let output = place.output.join(program.name).display().to_string();
        arguments.extend([mode, "-ldflags"].map(str::to_owned));
        arguments.extend([format!("-s -w{ldflags}"), "-o".to_owned(), output]);
        arguments.push((*package).to_owned());
        run(&format!("compiling {}", program.name), arguments)?;
    }
    Ok(())
}

/// `go build -v` names each package as it compiles it; a download has a line of its own kind.
fn how_far(log: &str) -> String {
    let packages: HashSet<&str> = log.lines().filter(|line| !line.contains(' ')).collect();
    match packages.len() {
        0 => String::new(),
        count => format!("{count} packages, "),
    }
}
