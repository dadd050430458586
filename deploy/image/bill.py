#!/usr/bin/env python3
"""Writes the bills of material of the images: what is linked into them, in which version, under which licence.

    deploy/image/bill.py FOLDER [ARCHITECTURE]

For each of the gateway's program (for amd64, or for arm64) its two Wasm modules and the native one, one CycloneDX 1.5 document (NAME.cdx.json), and LICENCES.txt with the
licences of all. Which crates are linked is what cargo resolves for the target, without build and test dependencies;
versions and checksums are those of Cargo.lock. The same lock file gives the same bytes: no time, no random identifier.
A release takes `Bill` from here, for the plugin and as SPDX, too.
"""

import functools
import hashlib
import json
import pathlib
import re
import subprocess
import sys
import tomllib
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}
CRATE = re.compile(r"^(?P<name>\S+) v(?P<version>\S+)")


def main():
    if len(sys.argv) not in (2, 3) or sys.argv[2:] and sys.argv[2] not in ARCHITECTURES:
        sys.exit("usage: bill.py FOLDER [amd64|arm64]")
    folder = pathlib.Path(sys.argv[1])
    machine = ARCHITECTURES[(sys.argv[2:] or ["amd64"])[0]]
    bills = [
        Bill("kube-oidc-gateway", "kube-oidc-gateway", f"{machine}-unknown-linux-gnu", with_envoy=True),
        Bill("plugin", "gateway-filter", "wasm32-wasip1"),
        Bill("connections", "gateway-connections", "wasm32-wasip1"),
        Bill("native", "gateway-native-module", f"{machine}-unknown-linux-gnu"),
    ]
    licences = {}
    for bill in bills:
        write(folder / f"{bill.name}.cdx.json", bill.cyclonedx())
        for entry in bill.components:
            expression = entry["licenses"][0]["expression"]
            licences.setdefault(expression, set()).add(f"{entry['name']} {entry['version']}")
    lines = ["Licences of what kube-oidc-gateway and its modules are made of, by SPDX expression.", ""]
    for expression in sorted(licences):
        lines += [expression, *(f"  {name}" for name in sorted(licences[expression])), ""]
    (folder / "LICENCES.txt").write_text("\n".join(lines))


class Bill:
    """What is linked into a package of the workspace for a target: `subject`, and `components` as CycloneDX has them."""

    def __init__(self, name, package, target, with_envoy=False):
        self.name = name
        linked = crates(package, target)
        metadata, checksums = packages()
        subject = next(crate for crate in linked if crate[0] == package)
        self.subject = component(metadata[subject], None) | {"type": "application"}
        self.components = [component(metadata[c], checksums.get(c)) for c in linked if c != subject]
        if with_envoy:
            self.components.append(envoy())

    def cyclonedx(self):
        """The bill as CycloneDX 1.5."""
        return {
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "serialNumber": f"urn:uuid:{self._serial()}",
            "version": 1,
            "metadata": {"component": self.subject},
            "components": self.components,
        }

    def spdx(self, created):
        """The bill as SPDX 2.3, which wants a time: that of the commit, so that the same sources give the same bytes."""
        entries = [self.subject, *self.components]
        identifiers = [f"SPDXRef-{number}" for number in range(len(entries))]
        return {
            "spdxVersion": "SPDX-2.3",
            "dataLicense": "CC0-1.0",
            "SPDXID": "SPDXRef-DOCUMENT",
            "name": self.name,
            "documentNamespace": f"urn:uuid:{self._serial()}",
            "creationInfo": {"created": created, "creators": ["Tool: kube-oidc-gateway-bill"]},
            "packages": [spdx_package(*pair) for pair in zip(identifiers, entries)],
            "relationships": [relationship("SPDXRef-DOCUMENT", "DESCRIBES", identifiers[0])]
            + [relationship(identifiers[0], "DEPENDS_ON", other) for other in identifiers[1:]],
        }

    def _serial(self):
        content = json.dumps([self.name, self.components]).encode()
        return uuid.UUID(bytes=hashlib.sha256(content).digest()[:16], version=4)


def spdx_package(identifier, entry):
    """A component of CycloneDX as a package of SPDX."""
    package = {
        "SPDXID": identifier,
        "name": entry["name"],
        "versionInfo": entry["version"],
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": entry["licenses"][0]["expression"],
        "copyrightText": "NOASSERTION",
        "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": entry["purl"]}],
    }
    checksums = [{"algorithm": "SHA256", "checksumValue": one["content"]} for one in entry.get("hashes", [])]
    return package | ({"checksums": checksums} if checksums else {})


def relationship(element, kind, related):
    return {"spdxElementId": element, "relationshipType": kind, "relatedSpdxElement": related}


@functools.cache
def packages():
    """cargo's metadata and the lock file's checksums, by name and version."""
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    checksums = {(p["name"], p["version"]): p.get("checksum") for p in lock["package"]}
    found = json.loads(cargo("metadata", "--locked", "--format-version=1"))["packages"]
    return {(p["name"], p["version"]): p for p in found}, checksums


def write(path, document):
    """Writes a document as JSON for people and programs."""
    path.write_text(json.dumps(document, indent=1) + "\n")


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


def cargo(*arguments):
    return subprocess.run(
        ["cargo", *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


if __name__ == "__main__":
    main()
