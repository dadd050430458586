#!/usr/bin/env python3
"""Runs what a release has for arm64 on a machine of another kind, by QEMU and in the files of its image:

    deploy/release/emulated.py FOLDER

The program starts, Envoy starts, and Envoy loads the native module, which then says what is missing in an empty configuration.
Needs Debian's qemu-user-static, or a machine of that processor.
"""

import io
import json
import os
import pathlib
import platform
import subprocess
import sys
import tarfile
import tempfile

import documents
import oci

MACHINE = "arm64"
EMULATOR = [] if platform.machine() == "aarch64" else ["qemu-aarch64-static"]
# A listener whose only filter is the module, with a configuration that it refuses in words of its own.
BOOTSTRAP = {
    "static_resources": {
        "listeners": [{
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
            "filter_chains": [{"filters": [{
                "name": "http",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                    "stat_prefix": "gateway",
                    "route_config": {},
                    "http_filters": [
                        {
                            "name": "gateway",
                            "typed_config": {
                                "@type": "type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter",
                                "dynamic_module_config": {"name": "kube_oidc_gateway", "do_not_close": True},
                                "filter_name": "gateway",
                                "filter_config": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "{}"},
                            },
                        },
                        {"name": "router", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}},
                    ],
                },
            }]}],
        }],
    },
}
REFUSED = "missing field `authenticationConfiguration`"


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.split("\n\n")[1].strip())
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        unpack(pathlib.Path(sys.argv[1]) / "images/gateway", root)
        version = documents.version()
        expect(f" {version}", run(root, "usr/local/bin/kube-oidc-gateway", "--version"))
        expect("version:", run(root, "usr/local/bin/envoy", "--version"))
        bootstrap = root / "bootstrap.json"
        bootstrap.write_text(json.dumps(BOOTSTRAP))
        said = run(root, "usr/local/bin/envoy", "--mode", "validate", "--config-path", bootstrap, "--concurrency", "1")
        expect(f"kube-oidc-gateway {version}", said)
        expect(REFUSED, said)
    print(f"emulated: program, Envoy and native module start for {MACHINE}", file=sys.stderr)


def unpack(layout, root):
    """The files of the image for that processor, below `root`."""
    source = oci.Layout(layout)
    index = source.read(json.loads((layout / "index.json").read_text())["manifests"][0])
    image = next(image for image in index["manifests"] if image["platform"]["architecture"] == MACHINE)
    for layer in source.read(image)["layers"]:
        blob = (layout / "blobs" / layer["digest"].replace(":", "/")).read_bytes()
        with tarfile.open(fileobj=io.BytesIO(blob)) as archive:
            for entry in archive:
                path = root / entry.name
                path.parent.mkdir(parents=True, exist_ok=True)
                if entry.isdir():
                    path.mkdir(exist_ok=True)
                elif entry.issym():
                    path.symlink_to(entry.linkname)
                else:
                    path.write_bytes(archive.extractfile(entry).read())
                    path.chmod(entry.mode)


def run(root, program, *arguments):
    """What a program of the image says, however it ends."""
    environment = os.environ | {"ENVOY_DYNAMIC_MODULES_SEARCH_PATH": str(root / "usr/local/lib/kube-oidc-gateway")}
    libraries = ["-L", root] if EMULATOR else []
    command = [*EMULATOR, *libraries, root / program, *arguments]
    done = subprocess.run([str(part) for part in command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    return f"{program}: {done.stdout}"


def expect(text, said):
    if text not in said:
        sys.exit(f"emulated: {text!r} was expected from {said[-2000:]}")


if __name__ == "__main__":
    main()
