#!/usr/bin/env python3
"""Writes the bills of material of the images: what is linked into them, in which version, under which licence.

    deploy/image/bill.py FOLDER

For each of the gateway's program, its two Wasm modules and the native one, one CycloneDX 1.5 document (NAME.cdx.json), and LICENCES.txt with the
licences of all. Which crates are linked is what cargo resolves for the target, without build and test dependencies;
versions and checksums are those of Cargo.lock. The same lock file gives the same bytes: no time, no random identifier.
"""

import hashlib
import json
import pathlib
import re
import subprocess
import sys
import tomllib
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Name of the document, package, target.
SUBJECTS = [
    ("kube-oidc-gateway", "kube-oidc-gateway", "x86_64-unknown-linux-gnu"),
    ("plugin", "gateway-filter", "wasm32-wasip1"),
    ("connections", "gateway-connections", "wasm32-wasip1"),
    ("native", "gateway-native-module", "x86_64-unknown-linux-gnu"),
]
CRATE = re.compile(r"^(?P<name>\S+) v(?P<version>\S+)")


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: bill.py FOLDER")
    folder = pathlib.Path(sys.argv[1])
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    checksums = {(p["name"], p["version"]): p.get("checksum") for p in lock["package"]}
    metadata = {
        (p["name"], p["version"]): p
        for p in json.loads(cargo("metadata", "--locked", "--format-version=1"))["packages"]
    }
    licences = {}
    for document, package, target in SUBJECTS:
        linked = crates(package, target)
        subject = next(crate for crate in linked if crate[0] == package)
        components = [component(metadata[c], checksums.get(c)) for c in linked if c != subject]
        if document == "kube-oidc-gateway":
            components.append(envoy())
        bill = {
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "serialNumber": f"urn:uuid:{serial(components)}",
            "version": 1,
            "metadata": {"component": component(metadata[subject], None) | {"type": "application"}},
            "components": components,
        }
        (folder / f"{document}.cdx.json").write_text(json.dumps(bill, indent=1) + "\n")
        for entry in components:
            expression = entry["licenses"][0]["expression"]
            licences.setdefault(expression, set()).add(f"{entry['name']} {entry['version']}")
    lines = ["Licences of what kube-oidc-gateway and its modules are made of, by SPDX expression.", ""]
    for expression in sorted(licences):
        lines += [expression, *(f"  {name}" for name in sorted(licences[expression])), ""]
    (folder / "LICENCES.txt").write_text("\n".join(lines))


def crates(package, target):
    """The crates that are linked, as (name, version), sorted."""
    tree = cargo(
        "tree", "--locked", "--prefix=none", "--edges=normal,no-proc-macro", f"--target={target}",
        f"--package={package}",
    )
    found = (CRATE.match(line) for line in tree.splitlines())
    return sorted({(match["name"], match["version"]) for match in found if match})


def component(package, checksum):
    name, version = package["name"], package["version"]
    licence = package.get("license")
    if not licence:
        sys.exit(f"{name} {version} names no licence")
    entry = {
        "type": "library",
        "bom-ref": f"pkg:cargo/{name}@{version}",
        "name": name,
        "version": version,
        "purl": f"pkg:cargo/{name}@{version}",
        # Some crates still write a slash for OR.
        "licenses": [{"expression": re.sub(r"\s*/\s*", " OR ", licence)}],
    }
    if checksum:
        entry["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return entry


def envoy():
    versions = tomllib.loads((ROOT / "sandbox/assets/versions.toml").read_text())
    version = versions["envoy"]["version"]
    return {
        "type": "application",
        "bom-ref": f"pkg:github/envoyproxy/envoy@v{version}",
        "name": "envoy",
        "version": version,
        "purl": f"pkg:github/envoyproxy/envoy@v{version}",
        "licenses": [{"expression": "Apache-2.0"}],
    }


def serial(components):
    return uuid.UUID(bytes=hashlib.sha256(json.dumps(components).encode()).digest()[:16], version=4)


def cargo(*arguments):
    return subprocess.run(
        ["cargo", *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


if __name__ == "__main__":
    main()
