#!/usr/bin/env python3
"""Makes all that a release publishes, of what has been built, into a folder: the same sources give the same bytes.

    deploy/release/release.py [--development] VERSION PARTS FOLDER

PARTS has what was built: filter.wasm, connections.wasm, linux-amd64 and linux-arm64 with the program and the native module (deploy/release/programs.sh), and the archives of
kubectl-oidc (login/dist.sh); archives for other systems, which their own machines made, may lie there, too. `make release` puts it together.
Without --development the version must be that of Cargo.toml and the chart, CHANGELOG.md must have a section for it, and the sources must be committed.

    images/gateway, images/plugin, images/chart    OCI layouts, each of one image, tagged with the version
    kube-oidc-gateway-VERSION.tgz                  the chart, with the image's digest inside
    kube-oidc-gateway-linux-MACHINE.tar.gz         the program with its modules
    kubectl-oidc-SYSTEM-MACHINE.tar.gz (.zip)      the login plugin
    filter.wasm, connections.wasm
    sbom/                                          bills of material, as CycloneDX and SPDX
    krew/, homebrew/, scoop/                       manifests of package managers
    images.txt, NOTES.md, provenance.json, SHA256SUMS
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile

import base
import chart
import documents
import libraries
import manifests
import oci

ROOT = documents.ROOT
sys.path.insert(0, str(ROOT / "deploy/image"))
import bill  # noqa: E402

MACHINES = ("amd64", "arm64")
MODULES = ("filter.wasm", "connections.wasm")
NATIVE = "libkube_oidc_gateway.so"


def main():
    arguments = sys.argv[1:]
    development = arguments[:1] == ["--development"]
    if development:
        arguments.pop(0)
    if len(arguments) != 3:
        sys.exit(__doc__.split("\n\n")[1].strip())
    version, parts, folder = arguments[0], pathlib.Path(arguments[1]), pathlib.Path(arguments[2])
    if not development:
        ready(version)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = pathlib.Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        os.chmod(partial, 0o755)
        Release(version, parts, partial, development).make()
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    print(f"release: {version} is in {folder}", file=sys.stderr)


def ready(version):
    """Refuses what is not the release of this version."""
    workspace = documents.version()
    if workspace != version:
        sys.exit(f"release: Cargo.toml has version {workspace}, not {version}")
    if git("status", "--porcelain"):
        sys.exit("release: not everything is committed (git status): what is published must be in the repository")
    if ".example" in documents.project()["REPOSITORY"]:
        print("release: deploy/project.env still has the addresses of an example", file=sys.stderr)


class Release:
    def __init__(self, version, parts, folder, development):
        self.version, self.parts, self.folder = version, parts, folder
        self.development = development
        self.place = documents.project()
        self.revision = git("rev-parse", "HEAD")
        # Times are the commit's, as SOURCE_DATE_EPOCH would have it.
        self.created = git("log", "-1", "--format=%cd", "--date=format-local:%Y-%m-%dT%H:%M:%SZ", utc=True)
        self.cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "kube-oidc-gateway"
        self.images = []
        self.materials = []

    def make(self):
        self.cache.mkdir(parents=True, exist_ok=True)
        for module in MODULES:
            shutil.copy(self.parts / module, self.folder / module)
        self.archives()
        bills = self.bills()
        self.gateway(bills)
        self.plugin()
        self.chart()
        manifests.write(self.folder, self.version, self.place, manifests.found(self.folder))
        self.documents()

    def archives(self):
        """Programs for people who run them without an image."""
        for machine in MACHINES:
            files = [("kube-oidc-gateway", (0o755, self.program(machine)))]
            files += [(name, (0o644, (self.parts / name).read_bytes())) for name in MODULES]
            files.append((NATIVE, (0o644, (self.parts / f"linux-{machine}" / NATIVE).read_bytes())))
            files.append(("LICENSE", (0o644, (ROOT / "LICENSE").read_bytes())))
            name = f"kube-oidc-gateway-linux-{machine}.tar.gz"
            (self.folder / name).write_bytes(oci.compress(oci.pack(files)))
        for _, _, path in manifests.found(self.parts):
            shutil.copy(path, self.folder / path.name)
        windows = self.parts / "windows-amd64/kubectl-oidc.exe"
        if windows.exists():
            with zipfile.ZipFile(self.folder / "kubectl-oidc-windows-amd64.zip", "w", zipfile.ZIP_DEFLATED) as archive:
                for path in (ROOT / "LICENSE", windows):
                    archive.writestr(zipfile.ZipInfo(path.name), path.read_bytes(), zipfile.ZIP_DEFLATED)

    def program(self, machine):
        return (self.parts / f"linux-{machine}/kube-oidc-gateway").read_bytes()

    def bills(self):
        """Writes the bills of material; returns, for each machine, those that its image holds."""
        folder = self.folder / "sbom"
        folder.mkdir()
        subjects = [("filter", "gateway-filter", "wasm32-wasip1"), ("connections", "gateway-connections", "wasm32-wasip1")]
        for machine, name in bill.ARCHITECTURES.items():
            subjects.append((f"kube-oidc-gateway-linux-{machine}", "kube-oidc-gateway", f"{name}-unknown-linux-gnu"))
            subjects.append((f"native-linux-{machine}", "gateway-native-module", f"{name}-unknown-linux-gnu"))
            subjects.append((f"kubectl-oidc-linux-{machine}", "kubectl-oidc", f"{name}-unknown-linux-musl"))
        subjects.append(("kubectl-oidc-windows-amd64", "kubectl-oidc", "x86_64-pc-windows-gnu"))
        for name, package, target in subjects:
            one = bill.Bill(name, package, target, with_envoy=package == "kube-oidc-gateway")
            bill.write(folder / f"{name}.cdx.json", one.cyclonedx())
            bill.write(folder / f"{name}.spdx.json", one.spdx(self.created))
        return {machine: self.held(machine) for machine in MACHINES}

    def held(self, machine):
        """The files that deploy/image/files puts into an image."""
        with tempfile.TemporaryDirectory() as folder:
            built = self.parts / f"linux-{machine}"
            modules = [self.parts / name for name in MODULES]
            command = [ROOT / "deploy/image/files", folder, built / "kube-oidc-gateway", *modules, built / NATIVE, machine]
            subprocess.run(command, check=True)
            paths = [path for path in pathlib.Path(folder).rglob("*") if path.is_file()]
            return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}

    def gateway(self, bills):
        """The image of the gateway for each machine, and the index of both."""
        layout = oci.Layout(self.folder / "images/gateway")
        images = []
        for machine in MACHINES:
            print(f"release: the gateway's image for {machine}", file=sys.stderr)
            image = self.place["ENVOY_IMAGE"]
            if image:
                below, layers = base.published(image, layout, machine), []
                files = base.contents(layout, below)
                self.materials.append((f"docker://{image.split('@')[0]}", {"sha256": image.split(":")[-1]}))
            else:
                files = base.debian(machine, self.cache)
                below, layers = [], [oci.pack(files.items())]
                self.materials.append((f"envoy/{machine}", {"sha256": oci.digest(files["usr/local/bin/envoy"][1])[7:]}))
                self.materials += base.packages(machine, self.cache)
            own = dict(installed(bills[machine]))
            complete(machine, files | own)
            layers.append(oci.pack(own.items()))
            images.append(layout.image(f"linux/{machine}", layers, self.config("gateway", runs()), below))
        self.name("gateway", layout, layout.index(images, self.annotations("gateway")))

    def plugin(self):
        """The filter alone, for Istio and Envoy Gateway: one image without a list of platforms, for a module runs on all."""
        layout = oci.Layout(self.folder / "images/plugin")
        files = [("plugin.wasm", (0o644, (self.parts / "filter.wasm").read_bytes()))]
        image = layout.image("linux/amd64", [oci.pack(files)], self.config("plugin", {}))
        self.name("plugin", layout, image)

    def chart(self):
        """The chart, whose image is the gateway's by digest."""
        repository, digest = f"{self.place['REGISTRY']}/gateway", dict(self.images)["gateway"].split("@")[1]
        content = chart.archive(self.version, repository, digest)
        (self.folder / f"kube-oidc-gateway-{self.version}.tgz").write_bytes(content)
        layout = oci.Layout(self.folder / "images/chart")
        annotations = self.annotations("chart")
        descriptor = chart.artifact(layout, content, self.version, annotations["org.opencontainers.image.description"], annotations)
        self.images.append(("chart", f"{self.place['REGISTRY']}/charts/kube-oidc-gateway@{descriptor['digest']}"))

    def documents(self):
        """Digests, notes, provenance and checksums, last, for they name all else."""
        documents.write(self.folder / "images.txt", "".join(f"{name}\n" for _, name in self.images))
        changelog = (ROOT / "CHANGELOG.md").read_text()
        section = "Unreleased" if self.development else self.version
        documents.write(self.folder / "NOTES.md", documents.notes(section, changelog, self.images, f"{self.place['REPOSITORY']}/blob/{self.revision}"))
        subjects = [(name, documents.sha256(self.folder / name)) for name in self.files()]
        subjects += [(name.split("@")[0], name.split(":")[-1]) for _, name in self.images]
        toolchain = tomllib.loads((ROOT / "rust-toolchain.toml").read_text())["toolchain"]["channel"]
        materials = [*self.materials, (f"rust-{toolchain}", {}), ("Cargo.lock", {"sha256": documents.sha256(ROOT / "Cargo.lock")})]
        statement = documents.provenance(subjects, self.version, self.place, self.revision, materials)
        documents.write(self.folder / "provenance.json", json.dumps(statement, indent=1) + "\n")
        sums = "".join(f"{documents.sha256(self.folder / name)}  {name}\n" for name in self.files())
        documents.write(self.folder / "SHA256SUMS", sums)

    def files(self):
        """The files that people download, by name; images are known by their digests."""
        paths = (path.relative_to(self.folder) for path in self.folder.rglob("*") if path.is_file())
        return sorted(path.as_posix() for path in paths if path.parts[0] != "images" and path.name != "SHA256SUMS")

    def name(self, image, layout, descriptor):
        layout.name(self.version, descriptor)
        self.images.append((image, f"{self.place['REGISTRY']}/{image}@{descriptor['digest']}"))

    def config(self, image, runs):
        return {"created": self.created, "config": runs, "annotations": self.annotations(image)}

    def annotations(self, image):
        titles = {
            "gateway": "Envoy with the filter of kube-oidc-gateway, and the program that runs it",
            "plugin": "The filter of kube-oidc-gateway, for Istio and Envoy Gateway",
            "chart": "OpenID Connect login for any Kubernetes cluster, as an Envoy filter in front of its API server",
        }
        return {
            "org.opencontainers.image.title": f"kube-oidc-gateway {image}",
            "org.opencontainers.image.description": titles[image],
            "org.opencontainers.image.version": self.version,
            "org.opencontainers.image.revision": self.revision,
            "org.opencontainers.image.created": self.created,
            "org.opencontainers.image.source": self.place["REPOSITORY"],
            "org.opencontainers.image.url": self.place["SITE"],
            "org.opencontainers.image.licenses": "Apache-2.0",
        }


def complete(machine, files):
    """Refuses an image in which a program would not start for want of a library."""
    content = {path: entry[1] if isinstance(entry, tuple) else entry for path, entry in files.items()}
    if lacks := libraries.missing({path: found for path, found in content.items() if found is not None}):
        sys.exit(f"release: in the gateway's image for {machine}, " + "; ".join(lacks))


def recipe():
    """The instructions of the gateway's stage in the Dockerfile, as (name, rest): what they say holds here, too."""
    text = (ROOT / "deploy/image/Dockerfile").read_text().replace("\\\n", " ")
    stage = text.split("AS gateway\n")[1]
    lines = (line.strip() for line in stage.splitlines())
    return [tuple(line.split(maxsplit=1)) for line in lines if line and not line.startswith("#")]


def installed(files):
    """The files of deploy/image/files where the Dockerfile's COPY lines put them."""
    for name, rest in recipe():
        if name != "COPY":
            continue
        source, target = rest.removeprefix("--from=files ").split()
        source = source.removeprefix("/")
        found = {path: content for path, content in files.items() if path == source or path.startswith(f"{source}/")}
        if not found:
            sys.exit(f"release: the Dockerfile copies {source}, which deploy/image/files does not make")
        for path, content in found.items():
            place = target + path.removeprefix(source).lstrip("/") if target.endswith("/") else target
            yield place.removeprefix("/"), (0o755 if target.startswith("/usr/local/bin/") else 0o644, content)


def runs():
    """How the gateway's image runs, as the Dockerfile says. Its health check is Docker's own, and no part of an OCI image."""
    said = dict(recipe())
    return {
        "User": said["USER"],
        "ExposedPorts": {f"{port}/tcp": {} for port in said["EXPOSE"].split()},
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        "Entrypoint": json.loads(said["ENTRYPOINT"]),
        "Cmd": json.loads(said["CMD"]),
        "StopSignal": said["STOPSIGNAL"],
    }


def git(*arguments, utc=False):
    environment = os.environ | ({"TZ": "UTC0"} if utc else {})
    return subprocess.run(["git", *arguments], cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


if __name__ == "__main__":
    main()
