"""What accompanies a release: where it is published, provenance, notes, checksums."""

import hashlib
import pathlib
import re
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]


def project():
    """The values of deploy/project.env."""
    lines = (ROOT / "deploy/project.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def version():
    """The version of the workspace."""
    return tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]


def provenance(subjects, version, place, revision, materials):
    """What was made of what, as a statement of in-toto with SLSA's provenance. `subjects` are pairs of a name and a SHA-256, `materials`
    pairs of a URI and a digest ({algorithm: value})."""
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(subjects)],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": f"{place['SITE']}/release/v1",
                "externalParameters": {"version": version, "repository": place["REPOSITORY"]},
                "resolvedDependencies": [
                    {"uri": f"git+{place['REPOSITORY']}", "digest": {"gitCommit": revision}},
                    *({"uri": uri, "digest": digest} for uri, digest in materials),
                ],
            },
            # Whoever runs it says so: a workflow signs this statement with its own identity.
            "runDetails": {"builder": {"id": f"{place['REPOSITORY']}/blob/{revision}/deploy/release/release.py"}},
        },
    }


def notes(version, changelog, images, source):
    """The section of a version in CHANGELOG.md, with the images' digests. Its links lead to files below the address `source`, for
    it is read elsewhere."""
    sections = re.split(r"^## ", changelog, flags=re.MULTILINE)
    found = next((section for section in sections if re.match(rf"{re.escape(version)}(\s|$)", section)), None)
    if found is None:
        sys.exit(f"release: CHANGELOG.md has no section `## {version}`")
    found = re.sub(r"\]\((?![a-z]+:|#)", f"]({source}/", found)
    table = "".join(f"| {kind} | `{name}` |\n" for kind, name in images)
    return f"## {found.strip()}\n\n### Images\n\n| | by digest |\n|---|---|\n{table}"


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
