#!/usr/bin/env python3
"""Counts the product's lines of Rust at some commits, each the same way: neither blank nor comment, without tests, benches, examples.

    tests/house/lines.py COMMIT ...
"""

import os
import subprocess
import sys

from architecture import ROOT, without_tests

PRODUCT = ("filter", "envoy", "login")
NO_PRODUCT = {"tests", "benches", "examples"}


def git(*words):
    return subprocess.run(["git", *words], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout.decode(errors="replace")


def lines(commit):
    """The lines of each part, and how many files of Rust the whole tree has."""
    names = [name for name in git("ls-tree", "-r", "--name-only", commit).splitlines() if name.endswith(".rs")]
    texts, tests = {}, []
    for name in names:
        folders = name.split("/")[:-1]
        if folders and folders[0] in PRODUCT and not NO_PRODUCT & set(folders):
            texts[name], modules = without_tests(git("show", f"{commit}:{name}"))
            folder, last = os.path.split(name)
            place = folder if last in ("mod.rs", "lib.rs", "main.rs") else name[: -len(".rs")]
            tests += [f"{place}/{module}" for module in modules]
    counts = dict.fromkeys(PRODUCT, 0)
    for name, text in texts.items():
        if not any(name == f"{test}.rs" or name.startswith(f"{test}/") for test in tests):
            counts[name.split("/")[0]] += sum(1 for line in text.splitlines() if line.strip())
    return counts, len(names)


def main():
    for commit in sys.argv[1:] or ["HEAD"]:
        counts, files = lines(commit)
        parts = ", ".join(f"{part} {count:,}" for part, count in counts.items())
        print(f"{commit}: {sum(counts.values()):,} ({parts}); {files} files of Rust in all")


if __name__ == "__main__":
    main()
