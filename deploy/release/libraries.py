"""Sees that an image has every library that its programs and modules need, in a version that is new enough.

Nothing is run: what a file needs is in its dynamic section, as readelf shows it, so that it is told for any processor.
"""

import pathlib
import re
import subprocess
import tempfile

# `000000: Version: 1  File: libc.so.6  Cnt: 2`, and below it `0x0010:   Name: GLIBC_2.34  Flags: none  Version: 3`.
FILE = re.compile(r"\bFile: (\S+)\s+Cnt:")
NAME = re.compile(r"\bName: (\S+)\s+Flags:")
NEEDED = re.compile(r"\(NEEDED\).*\[(.*)\]")


def missing(files):
    """What the programs and modules among `files` (bytes by path, a string for a link) need and those do not have, as sentences."""
    found = {}
    for path, content in files.items():
        # What a link leads to has a name of its own.
        found.setdefault(pathlib.PurePosixPath(path).name, content)
    lacks = []
    for path, content in sorted(files.items()):
        if not isinstance(content, bytes) or not content.startswith(b"\x7fELF"):
            continue
        for library, versions in needs(content):
            there = found.get(library)
            if there is None:
                lacks.append(f"{path} needs {library}, which is not there")
            elif isinstance(there, bytes):
                lacks += [f"{path} needs {version} of {library}, which is older" for version in versions if version.encode() + b"\0" not in there]
    return lacks


def needs(content):
    """The libraries of a file, as pairs of a name and the versions of symbols that are used of it."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        command = ["readelf", "--dynamic", "--version-info", "--wide", file.name]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    libraries = {match[1]: [] for line in said.splitlines() if (match := NEEDED.search(line))}
    versions = None
    for line in said.splitlines():
        if match := FILE.search(line):
            versions = libraries.setdefault(match[1], [])
        elif match := NAME.search(line):
            # Those that a library has itself follow no name of a file.
            if versions is not None:
                versions.append(match[1])
        elif line.startswith("Version definition"):
            versions = None
    return list(libraries.items())
