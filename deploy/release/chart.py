"""The chart as it is released: with the image's digest inside, as an archive that `helm` takes and as an OCI artifact."""

import json
import pathlib
import re
import sys

import oci

CHART = pathlib.Path(__file__).resolve().parents[2] / "deploy/helm/kube-oidc-gateway"
CONFIG = "application/vnd.cncf.helm.config.v1+json"
CONTENT = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"


def archive(version, repository, digest):
    """The chart's archive, for images of `repository` with this digest."""
    files = []
    for path in sorted(CHART.rglob("*")):
        if path.is_file():
            name = path.relative_to(CHART).as_posix()
            content = path.read_text()
            if name == "Chart.yaml":
                versions = re.findall(r"^(?:version|appVersion): (.*)$", content, re.MULTILINE)
                if versions != [version, version]:
                    sys.exit(f"release: Chart.yaml has version and appVersion {', '.join(versions)}, not {version}")
            if name in ("values.yaml", "README.md"):
                content = released(name, content, repository, digest)
            files.append((f"kube-oidc-gateway/{name}", (0o644, content.encode())))
    return oci.compress(oci.pack(files))


def released(name, content, repository, digest):
    """values.yaml or the table made from it, with the image of the release in place of a local one."""
    changes = {
        "values.yaml": [("  repository: kube-oidc-gateway\n", f"  repository: {repository}\n"), ('  digest: ""\n', f"  digest: {digest}\n")],
        "README.md": [("| `image.repository` | `kube-oidc-gateway` |", f"| `image.repository` | `{repository}` |"),
                      ("| `image.digest` | empty |", f"| `image.digest` | `{digest}` |")],
    }
    for before, after in changes[name]:
        if content.count(before) != 1:
            sys.exit(f"release: the chart's {name} has {before.strip()!r} {content.count(before)} times, not once")
        content = content.replace(before, after)
    return content


def artifact(layout, content, version, description, annotations):
    """Writes the archive into a layout as Helm pushes it."""
    config = {"name": "kube-oidc-gateway", "version": version, "appVersion": version, "apiVersion": "v2", "type": "application", "description": description}
    descriptor = layout.artifact(CONFIG, (json.dumps(config).encode(), CONFIG), [(content, CONTENT)], annotations)
    layout.name(version, descriptor)
    return descriptor
