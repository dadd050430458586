//! What `make release` made, as a stranger gets it: from a registry, with signatures and checksums. `make release-check` runs it.
//!
//! `NODE_RELEASE` is the folder of the release, `NODE_COSIGN` cosign's program, `NODE_ISTIO_WASM` that of tests/istio-wasm. The registry is Debian's, in this test's own network under the
//! name that the chart has for its image, so that nothing of the release is changed for the test.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use sandbox::{Process, Spec, wait};
use serde_json::{Value, json};

use crate::{
    names,
    nodes::{APISERVER, LIMIT, folder, registries},
    quickstart::{Reader, three_steps},
    release::{Release, root, run_helm},
};

/// A release: the images and the chart in a registry, all else in a folder.
struct Published {
    folder: PathBuf,
    version: String,
    /// By kind, as images.txt has them: `NAME@sha256:…`.
    images: Vec<String>,
    _registry: Process,
}

impl Published {
    fn new() -> Self {
        let release = env::var_os("NODE_RELEASE").expect("NODE_RELEASE: `make release-check`");
        let release = PathBuf::from(release);
        let images = fs::read_to_string(release.join("images.txt")).unwrap();
        let images: Vec<String> = images.lines().map(str::to_owned).collect();
        let host = images[0].split('/').next().unwrap().to_owned();
        let chart = fs::read_dir(&release).unwrap().map(|file| file.unwrap().file_name());
        let version = chart
            .filter_map(|name| name.into_string().ok())
            .find_map(|name| {
                Some(name.strip_prefix("kube-oidc-gateway-")?.strip_suffix(".tgz")?.to_owned())
            })
            .expect("a chart");
        let registry = registry(&host);
        let published = Self { folder: release, version, images, _registry: registry };
        let push = root().join("deploy/release/push").display().to_string();
        let pushed = must(&push, &["--plain-http", &published.path("")]);
        assert_eq!(
            String::from_utf8(pushed).unwrap().lines().collect::<Vec<_>>(),
            published.images
        );
        published
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn chart(&self) -> String {
        format!("oci://{}", name(&self.images[2]))
    }
}

/// The name of an image that is named by digest.
fn name(image: &str) -> &str {
    image.split_once('@').unwrap().0
}

/// Starts a registry under this name, which the nodes find, too.
fn registry(host: &str) -> Process {
    names::add(host, APISERVER);
    let own = folder().join("registry");
    fs::create_dir(&own).unwrap();
    let configuration = json!({
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": own.join("storage")}},
        "http": {"addr": format!("{APISERVER}:80")},
    });
    let file = own.join("config.yml");
    fs::write(&file, configuration.to_string()).unwrap();
    let spec = Spec {
        name: "docker-registry",
        program: "docker-registry".into(),
        arguments: vec!["serve".to_owned(), file.display().to_string()],
        environment: vec![],
        folder: None,
        log: folder().join("registry.log"),
    };
    let mut process = Process::start(&spec).unwrap();
    let up = process.wait_until(LIMIT, || {
        std::net::TcpStream::connect((APISERVER, 80)).map(drop).map_err(|error| error.to_string())
    });
    up.unwrap_or_else(|error| panic!("{error}"));
    let hosts = registries().join(host);
    fs::create_dir_all(&hosts).unwrap();
    let toml = format!(
        "server = \"http://{host}\"\n[host.\"http://{APISERVER}:80\"]\ncapabilities = [\"pull\", \"resolve\"]\n"
    );
    fs::write(hosts.join("hosts.toml"), toml).unwrap();
    process
}

fn run(program: &str, arguments: &[&str]) -> Output {
    let home = folder().join("signer");
    fs::create_dir_all(&home).unwrap();
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(&home)
        .env("HOME", &home)
        .env("COSIGN_PASSWORD", "throw-away");
    command.output().unwrap_or_else(|error| panic!("{program}: {error}"))
}

fn must(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = run(program, arguments);
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Signs as a release's workflow does, with a key that ends with the test, and verifies as docs/verify.md says.
fn signatures(published: &Published) {
    let cosign = env::var("NODE_COSIGN").expect("NODE_COSIGN: `make release-check`");
    must(&cosign, &["generate-key-pair"]);
    let verify = |image: &str| {
        run(
            &cosign,
            &[
                "verify",
                "--key=cosign.pub",
                "--insecure-ignore-tlog",
                "--allow-http-registry",
                image,
            ],
        )
    };
    for image in &published.images {
        assert!(!verify(image).status.success(), "{image} is not signed yet");
        let sign = [
            "sign",
            "--yes",
            "--key=cosign.key",
            "--use-signing-config=false",
            "--tlog-upload=false",
            "--allow-http-registry",
            image,
        ];
        must(&cosign, &sign);
        let verified = verify(image);
        assert!(
            verified.status.success(),
            "{image}: {}",
            String::from_utf8_lossy(&verified.stderr)
        );
        let claims: Value = serde_json::from_slice(&verified.stdout).unwrap();
        let signed = &claims[0]["critical"]["image"]["docker-manifest-digest"];
        assert_eq!(signed.as_str(), image.split('@').nth(1), "{claims}");
    }
}

/// Every file that people download is named with its sum, and what is unpacked runs.
fn files(published: &Published) -> PathBuf {
    let sums = fs::read_to_string(published.folder.join("SHA256SUMS")).unwrap();
    let named: Vec<&str> = sums.lines().filter_map(|line| line.split("  ").nth(1)).collect();
    let check = Command::new("sha256sum")
        .args(["--check", "--strict", "--quiet", "SHA256SUMS"])
        .current_dir(&published.folder)
        .output()
        .unwrap();
    assert!(check.status.success(), "{check:?}");
    for file in
        ["provenance.json", "images.txt", "NOTES.md", "filter.wasm", "sbom/filter.spdx.json"]
    {
        assert!(named.contains(&file), "{file}: {sums}");
    }
    let provenance = fs::read(published.folder.join("provenance.json")).unwrap();
    let provenance: Value = serde_json::from_slice(&provenance).unwrap();
    let subjects = provenance["subject"].as_array().unwrap();
    for image in &published.images {
        let digest = image.split(':').next_back().unwrap();
        assert!(
            subjects.iter().any(|it| it["digest"]["sha256"] == digest),
            "{image}: {subjects:?}"
        );
    }
    let programs = folder().join("downloaded");
    fs::create_dir(&programs).unwrap();
    for archive in ["kube-oidc-gateway-linux-amd64.tar.gz", "kubectl-oidc-linux-amd64.tar.gz"] {
        must("tar", &["-xzf", &published.path(archive), "-C", programs.to_str().unwrap()]);
    }
    for (program, arguments) in [("kube-oidc-gateway", "--version"), ("kubectl-oidc", "version")] {
        let said = must(programs.join(program).to_str().unwrap(), &[arguments]);
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains(&published.version), "{program}: {said}");
    }
    // Another machine's: this one's QEMU runs it.
    let other = folder().join("other");
    fs::create_dir(&other).unwrap();
    let archive = published.path("kubectl-oidc-linux-arm64.tar.gz");
    must("tar", &["-xzf", &archive, "-C", other.to_str().unwrap()]);
    let said =
        must("qemu-aarch64-static", &[other.join("kubectl-oidc").to_str().unwrap(), "version"]);
    assert!(String::from_utf8(said).unwrap().contains(&published.version));
    programs
}

/// The plugin's image, as Istio and Envoy Gateway read it: the only layer has plugin.wasm, which is the release's filter.
fn plugin(published: &Published) {
    let place = folder().join("plugin");
    let source = format!("docker://{}", published.images[1]);
    let target = format!("dir:{}", place.display());
    must("skopeo", &["copy", "--quiet", "--src-tls-verify=false", &source, &target]);
    let manifest: Value =
        serde_json::from_slice(&fs::read(place.join("manifest.json")).unwrap()).unwrap();
    let [layer] = &**manifest["layers"].as_array().unwrap() else { panic!("{manifest}") };
    assert_eq!(layer["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
    let blob = place.join(layer["digest"].as_str().unwrap().split(':').nth(1).unwrap());
    let files = must("tar", &["-tzf", blob.to_str().unwrap()]);
    assert_eq!(String::from_utf8(files).unwrap(), "plugin.wasm\n");
    let module = must("tar", &["-xzOf", blob.to_str().unwrap(), "plugin.wasm"]);
    let filter = fs::read(published.folder.join("filter.wasm")).unwrap();
    assert!(module == filter, "another filter");

    // By the code of Istio's agent, which asks without TLS only where the address is a private one.
    let istio = env::var("NODE_ISTIO_WASM").expect("NODE_ISTIO_WASM: `make release-check`");
    let modules = folder().join("istio");
    fs::create_dir(&modules).unwrap();
    let (_, rest) = published.images[1].split_once('/').unwrap();
    let url = format!("oci://{APISERVER}:80/{rest}");
    let said = String::from_utf8(must(&istio, &[&url, modules.to_str().unwrap()])).unwrap();
    let fetched = said.lines().last().unwrap();
    assert!(fs::read(fetched).unwrap() == filter, "Istio fetched another filter: {said}");
}

#[test]
#[ignore = "make release-check makes the release that it needs"]
fn a_release_is_installed_from_a_registry_and_used() {
    // The nodes read registries' addresses when they pull, and are there first.
    let _ = crate::nodes::nodes();
    let published = Published::new();
    let programs = files(&published);
    signatures(&published);
    plugin(&published);

    let pulled = folder().join("pulled");
    fs::create_dir(&pulled).unwrap();
    let version = format!("--version={}", published.version);
    let output = run_helm(&[
        "pull",
        &published.chart(),
        &version,
        "--plain-http",
        "--destination",
        pulled.to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let archive = format!("kube-oidc-gateway-{}.tgz", published.version);
    let same = fs::read(pulled.join(&archive)).unwrap()
        == fs::read(published.folder.join(&archive)).unwrap();
    assert!(same, "the registry's chart is another one");

    upgrade(&published, &pulled.join(&archive));

    // The page's own commands, with the published chart for the folder and the downloaded plugin.
    let reader = Reader::new(json!({}));
    reader.takes("kubectl-oidc", &programs.join("kubectl-oidc"));
    let chart = format!("{} {version} --plain-http", published.chart());
    three_steps(&reader, |commands| commands.replace("deploy/helm/kube-oidc-gateway", &chart));
}

/// A gateway of an earlier commit becomes the published one, while a user stays let in.
fn upgrade(published: &Published, chart: &Path) {
    let earlier =
        env::var_os("NODE_EARLIER").expect("NODE_EARLIER names the earlier commit's chart");
    let release = Release::new("earlier", &json!({}));
    let tag = json!({"image": {"tag": "earlier"}});
    release.helm("install", Path::new(&earlier), &tag);
    let (url, ca) = (release.url(), release.secret("tls", "ca.crt"));
    release.lets_in(&url, &ca);
    let published_image = json!({"image": {"tag": ""}});
    release.helm("upgrade", chart, &published_image);
    let image = &published.images[0];
    let digest = image.split('@').nth(1).unwrap();
    wait::within(LIMIT, "pods of the release alone", || {
        let pods = release.pods();
        let of =
            |pod: &Value| pod["spec"]["containers"][0]["image"].as_str().unwrap().ends_with(digest);
        if pods.iter().all(of) { Ok(()) } else { Err(release.story()) }
    })
    .unwrap();
    release.lets_in(&url, &ca);
    release.uninstall();
}
