//! Helm itself, and the chart.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::LazyLock,
};

use sandbox::assets::{self, Progress};

static HELM: LazyLock<PathBuf> = LazyLock::new(|| assets::helm(&Progress::new()).unwrap());

/// Helm's file.
pub fn program() -> &'static Path {
    &HELM
}

/// The namespace that everything is rendered for.
pub const NAMESPACE: &str = "login";

/// The chart's folder.
pub fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/helm/kube-oidc-gateway")
}

/// Runs `helm VERB ... CHART ...` and waits for it.
pub fn helm<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Output {
    Command::new(&*HELM).args(arguments).output().unwrap()
}

/// Every file of values: its name without the ending, and its path.
pub fn values() -> Vec<(String, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chart/values");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path))
        .collect();
    files.sort();
    files
}

/// What the chart makes of a file of values, hooks among it.
pub fn rendered(values: &Path) -> String {
    template(values, &[])
}

/// What is there once the chart is installed: no hooks.
pub fn installed(values: &Path) -> String {
    template(values, &["--no-hooks"])
}

fn template(values: &Path, more: &[&str]) -> String {
    let (chart, values) = (chart(), values.to_str().unwrap().to_owned());
    let arguments =
        ["template", "gateway", chart.to_str().unwrap(), "-n", NAMESPACE, "-f", &values];
    let output = helm(arguments.into_iter().chain(more.iter().copied()));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{values}: {said}");
    assert_eq!(said, "", "{values}: no warnings");
    String::from_utf8(output.stdout).unwrap()
}
