#!/usr/bin/env python3
"""Checks what a change touches, and no more; `make quick` runs it, and `make test` stays the proof.

    tests/house/quick.py [BASE]    what differs from BASE (default: the branch `main`, or the last commit when on it)
    tests/house/quick.py --list    print what would run

Formatting, lints and tests of the packages with changed files; of the packages above them, that they compile and their lints;
what the filter is made of also for WebAssembly. The tests with real clusters are not run: it says which there are.
"""

import os
import subprocess
import sys

from architecture import ROOT, dependencies, packages

# These start real clusters, for minutes.
SLOW = {"gateway-tests", "container-tests", "gateway-bench", "gateway-soak", "rogue-filter"}
# Pages whose promises are tests of a package, by the beginning of their path.
PAGES = {"docs/login": "kubectl-oidc", "docs/": "kube-oidc-gateway", "deploy/": "kube-oidc-gateway"}


def git(*arguments):
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.split("\n")


def changed_files(base):
    if base is None:
        here, main = git("rev-parse", "HEAD")[0], git("rev-parse", "--verify", "main")[0]
        base = "HEAD~1" if here == main else git("merge-base", "main", "HEAD")[0]
    untracked = git("ls-files", "--others", "--exclude-standard")
    return sorted({file for file in git("diff", "--name-only", base) + untracked if file})


def package_of(file, folders):
    """The package with the deepest folder that holds the file."""
    holding = [folder for folder in folders if file.startswith(folder + "/")]
    return folders[max(holding, key=len)] if holding else None


def main():
    words = [word for word in sys.argv[1:] if word != "--list"]
    files = changed_files(words[0] if words else None)
    known = packages()
    folders = {os.path.relpath(os.path.dirname(p["manifest_path"]), ROOT): name for name, p in known.items()}
    changed = {package_of(file, folders) for file in files} - {None}
    changed |= {next((p for start, p in PAGES.items() if file.startswith(start)), None) for file in files} - {None}
    if any(file in ("Cargo.toml", "Cargo.lock", "rust-toolchain.toml") for file in files):
        changed = set(known)
    above = set(changed)
    while more := {n for n, p in known.items() if n not in above and dependencies(p, known, [None, "dev"]) & above}:
        above |= more

    def of(names):
        return [word for name in sorted(names) for word in ("-p", name)]

    steps = [["cargo", "fmt", "--all", "--check"], ["tests/house/architecture.py"], ["tests/house/named_tests.py"]]
    if above:
        steps.append(["cargo", "clippy", "--locked", "--all-targets", *of(above), "--", "-D", "warnings"])
    if "gateway-filter" in above:
        wasm = ["--target", "wasm32-wasip1", "-p", "gateway-filter"]
        steps.append(["cargo", "clippy", "--locked", *wasm, "--", "-D", "warnings"])
    if quick := changed - SLOW:
        steps.append(["cargo", "test", "--locked", "--quiet", *of(quick)])
    print(f"{len(files)} files changed, in: {', '.join(sorted(changed)) or 'no package'}", file=sys.stderr)
    for step in steps:
        print("==", " ".join(step), file=sys.stderr, flush=True)
        if "--list" not in sys.argv and subprocess.run(step, cwd=ROOT, check=False).returncode:
            return 1
    if slow := above & {"gateway-tests", "container-tests"}:
        print(f"Not run, because they start clusters: {', '.join(sorted(slow))} (make e2e, make test)", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
