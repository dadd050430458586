//! CVE-2026-73548: an Envoy that has it is not started.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use sandbox::{
    assets::{self, Progress},
    program,
};

use crate::{
    behaviour::whoami,
    harness::{LIMIT, Rig, cluster, until},
};

const OLD: &str = "envoy  version: 9aed67d3/1.39.0/Clean/RELEASE/BoringSSL";

fn vulnerable() -> String {
    let envoy = assets::vulnerable_envoy(&Progress::new()).unwrap();
    format!("--envoy-binary={}", envoy.display())
}

/// The real one.
#[test]
fn cve_2026_73548_an_old_envoy_is_refused() {
    let mut rig = Rig::start(|_| vec![vulnerable()], true);
    let status = rig.program.wait(LIMIT).unwrap();
    let log = rig.log();
    assert_eq!(status.code(), Some(1), "{log}");
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains("Envoy 1.39.0 has CVE-2026-73548: "), "{log}");
    assert!(log.contains("1.39.1 or a later 1.39"), "{log}");
}

/// What a test of another defence needs.
#[test]
pub fn cve_2026_73548_an_old_envoy_starts_only_if_a_test_says_so() {
    let flags = || vec![vulnerable(), "--allow-vulnerable-envoy".to_owned()];
    let mut rig = Rig::start(|_| flags(), true);
    let probe = rig.probe();
    let ready = rig.program.wait_until(|| {
        let answer = probe.get("/readyz").map_err(|error| error.to_string())?;
        if answer.status == 200 { Ok(()) } else { Err(answer.body) }
    });
    ready.unwrap();
    assert_eq!(whoami(&rig, &rig.token().mint(), &[]).0, 201);
    let warning = "WARN --allow-vulnerable-envoy: Envoy 1.39.0 has CVE-2026-73548: ";
    assert!(rig.log().contains(warning), "{}", rig.log());
    assert!(rig.envoy_admin("/server_info").contains("/1.39.0/"));
}

/// Somebody puts an old one in the place of the one that runs: it does not come back as that.
#[test]
fn cve_2026_73548_an_old_envoy_does_not_follow_a_good_one() {
    let folder = tempfile::tempdir().unwrap();
    let envoy = folder.path().join("envoy");
    let real = cluster().assets().envoy.clone();
    write(&envoy, &format!("exec {} \"$@\"", real.display()));
    let mut rig = Rig::with(|_| vec![format!("--envoy-binary={}", envoy.display())], true);
    write(&envoy, &format!("echo '{OLD}'"));
    program::kill(rig.envoy()).unwrap();
    let status = rig.program.wait(LIMIT).unwrap();
    assert_eq!(status.code(), Some(1), "{}", rig.log());
    assert!(rig.log().contains("Envoy 1.39.0 has CVE-2026-73548: "), "{}", rig.log());
}

/// Istio's builds, and those between two releases: nobody can tell, and the filter's own hold on early data is what is left.
#[test]
fn an_envoy_that_names_no_release_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let envoy = folder.path().join("envoy");
    let real = cluster().assets().envoy.clone();
    let told = OLD.replace("1.39.0", "1.39.0-dev");
    let script =
        format!("[ \"$1\" = --version ] && echo '{told}' || exec {} \"$@\"", real.display());
    write(&envoy, &script);
    let rig = Rig::with(|_| vec![format!("--envoy-binary={}", envoy.display())], true);
    let said = "does not say of which release it is; it must not have CVE-2026-73548";
    until("the warning", || rig.log().contains(said).then_some(()));
    assert_eq!(whoami(&rig, &rig.token().mint(), &[]).0, 201);
}

/// Replaced by rename, as packages do: a file that runs cannot be written to.
fn write(path: &Path, script: &str) {
    let new = path.with_extension("new");
    fs::write(&new, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&new, path).unwrap();
}
