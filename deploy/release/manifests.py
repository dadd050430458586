#!/usr/bin/env python3
"""Writes the manifests by which package managers find kubectl-oidc, of one list: the archives of a release.

    deploy/release/manifests.py VERSION ARCHIVES FOLDER

ARCHIVES has kubectl-oidc-SYSTEM-MACHINE.tar.gz (or .zip); only what is there is named. FOLDER gets krew/oidc.yaml, homebrew/kubectl-oidc.rb
and, where there is an archive for Windows, scoop/kubectl-oidc.json. Addresses are those of deploy/project.env.
"""

import json
import pathlib
import re
import sys

import documents

TEMPLATES = pathlib.Path(__file__).with_name("templates")
ARCHIVE = re.compile(r"^kubectl-oidc-(darwin|linux|windows)-(amd64|arm64)\.(tar\.gz|zip)$")


def main():
    if len(sys.argv) != 4:
        sys.exit("usage: manifests.py VERSION ARCHIVES FOLDER")
    archives = found(pathlib.Path(sys.argv[2]))
    if not archives:
        sys.exit(f"manifests.py: no archive kubectl-oidc-SYSTEM-MACHINE.tar.gz or .zip in {sys.argv[2]}")
    write(pathlib.Path(sys.argv[3]), sys.argv[1], documents.project(), archives)


def found(folder):
    """The archives of a folder, as (system, machine, path)."""
    matches = ((ARCHIVE.match(path.name), path) for path in sorted(folder.iterdir()))
    return [(match[1], match[2], path) for match, path in matches if match]


def write(folder, version, place, archives):
    """Writes the manifests of krew, Homebrew and Scoop for archives of kubectl-oidc, which are (system, machine, path)."""
    base = f"{place['REPOSITORY']}/releases/download/v{version}"
    rows = [(system, machine, f"{base}/{path.name}", documents.sha256(path)) for system, machine, path in archives]
    words = {"VERSION": version, "HOMEPAGE": place["SITE"], "PLATFORMS": krew(rows), "SYSTEMS": homebrew(rows)}
    targets = {"oidc.yaml": "krew/oidc.yaml", "kubectl-oidc.rb": "homebrew/kubectl-oidc.rb"}
    for template, target in targets.items():
        text = (TEMPLATES / template).read_text()
        for word, value in words.items():
            text = text.replace(f"@{word}@", value)
        documents.write(folder / target, text)
    windows = {machine: (url, digest) for system, machine, url, digest in rows if system == "windows"}
    if windows:
        documents.write(folder / "scoop/kubectl-oidc.json", json.dumps(scoop(windows, version, place), indent=4) + "\n")


def krew(rows):
    """The platforms of a krew manifest."""
    text = ""
    for system, machine, url, digest in rows:
        program = "kubectl-oidc.exe" if system == "windows" else "kubectl-oidc"
        text += (
            f"    - selector:\n        matchLabels:\n          os: {system}\n          arch: {machine}\n"
            f"      uri: {url}\n      sha256: {digest}\n      bin: {program}\n"
            f"      files:\n        - from: {program}\n          to: .\n        - from: LICENSE\n          to: .\n"
        )
    return text


def homebrew(rows):
    """The blocks of a formula, by system and processor."""
    text = ""
    for system, block in (("darwin", "macos"), ("linux", "linux")):
        of_system = [row for row in rows if row[0] == system]
        if of_system:
            text += f"  on_{block} do\n"
            for _, machine, url, digest in of_system:
                text += f"    on_{'arm' if machine == 'arm64' else 'intel'} do\n      url \"{url}\"\n      sha256 \"{digest}\"\n    end\n"
            text += "  end\n"
    return text


def scoop(windows, version, place):
    names = {"amd64": "64bit", "arm64": "arm64"}
    return {
        "version": version,
        "description": "Log in to Kubernetes with OpenID Connect, token in the system's credential store",
        "homepage": place["SITE"],
        "license": "Apache-2.0",
        "architecture": {names[machine]: {"url": url, "hash": digest} for machine, (url, digest) in windows.items()},
        "bin": "kubectl-oidc.exe",
    }


if __name__ == "__main__":
    main()
