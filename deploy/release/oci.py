"""OCI image layouts, by the image format specification 1.1: the same content gives the same bytes.

A layout is a folder with index.json and blobs by digest. `Layout.image` writes one platform's image, `Layout.index` the list of
platforms that has a name, `Layout.artifact` something that is no image, as a Helm chart is.
"""

import gzip
import hashlib
import io
import json
import pathlib
import tarfile

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
EMPTY = "application/vnd.oci.empty.v1+json"


class Layout:
    """An OCI layout in a folder, which is made."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        (self.folder / "blobs/sha256").mkdir(parents=True, exist_ok=True)
        self._write("oci-layout", {"imageLayoutVersion": "1.0.0"})

    def image(self, platform, layers, config, base=()):
        """Writes an image for `platform` (linux/amd64) of `layers` (bytes of tar archives) upon those of `base`, which
        are pairs of a tar's digest and a descriptor. Returns its descriptor."""
        system, machine = platform.split("/")
        stack = [*base, *(self.layer(layer) for layer in layers)]
        document = {
            "created": config["created"],
            "architecture": machine,
            "os": system,
            "config": config["config"],
            "rootfs": {"type": "layers", "diff_ids": [digest for digest, _ in stack]},
            "history": [{"created": config["created"], "created_by": "kube-oidc-gateway"} for _ in stack],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.blob(encode(document), CONFIG),
            "layers": [descriptor for _, descriptor in stack],
            "annotations": config["annotations"],
        }
        return self.blob(encode(manifest), MANIFEST) | {"platform": {"architecture": machine, "os": system}}

    def layer(self, tar):
        """Adds a layer; returns its tar's digest and its descriptor."""
        return digest(tar), self.blob(compress(tar), LAYER)

    def artifact(self, artifact_type, config, layers, annotations):
        """Writes something that is no image: `config` and `layers` are pairs of bytes and media type. Returns its descriptor."""
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": artifact_type,
            "config": self.blob(*config),
            "layers": [self.blob(*layer) for layer in layers],
            "annotations": annotations,
        }
        return self.blob(encode(manifest), MANIFEST)

    def index(self, images, annotations):
        """Writes the index of one image's platforms, and returns its descriptor."""
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": images, "annotations": annotations}
        return self.blob(encode(document), INDEX)

    def name(self, tag, descriptor):
        """Makes `descriptor` what the layout is of, and gives it a tag."""
        named = descriptor | {"annotations": {"org.opencontainers.image.ref.name": tag}}
        self._write("index.json", {"schemaVersion": 2, "mediaType": INDEX, "manifests": [named]})

    def blob(self, content, media_type):
        """Adds a blob; returns its descriptor."""
        name = digest(content)
        (self.folder / "blobs" / name.replace(":", "/")).write_bytes(content)
        return {"mediaType": media_type, "digest": name, "size": len(content)}

    def read(self, descriptor):
        """The JSON document of a descriptor."""
        return json.loads((self.folder / "blobs" / descriptor["digest"].replace(":", "/")).read_bytes())

    def _write(self, name, document):
        (self.folder / name).write_bytes(encode(document))


def pack(files):
    """A tar archive of `files`: pairs of a path and (mode, bytes), or (mode, None) for a folder, or (mode, text) for a symbolic link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, (mode, content) in sorted(files):
            entry = tarfile.TarInfo(path)
            entry.mode = mode
            if content is None:
                entry.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
            else:
                entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


def compress(content):
    """gzip, without a name and a time."""
    return gzip.compress(content, 9, mtime=0)


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def encode(document):
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
