#!/usr/bin/env python3
"""Holds tests/replaced.toml, the table of what this project replaces, to the tests that exist; `make lint` runs it.

It fails if a system or a row is gone, if a row has no test, if a test that a row names is gone, or if a package that was asked
for is not used any more.
"""

import os
import re
import sys
import tomllib

from architecture import ROOT, packages

TABLE = os.path.join(ROOT, "tests", "replaced.toml")
# How many rows each system has at least. To take one out is a decision: make it here too.
ROWS = {
    "kube-oidc-proxy": 9,
    "structured-authentication": 7,
    "kubekey": 3,
    "kubelogin": 6,
    "kubehook": 5,
    "kubernetes-sandbox": 3,
    "kanidm": 1,
    "istio": 2,
    "envoy-gateway": 2,
    "testcontainers": 1,
}
ASKED = {"proxy-wasm", "jwt-simple", "serde_json", "base64", "wasm-bindgen-test", "testcontainers"}
TEST = re.compile(r"#\[(?:\w+::)*test\b[^\]]*\]\s*(?:#\[[^\]]*\]\s*)*(?:pub\s+)?(?:async\s+)?fn\s+(\w+)")


def tests(package):
    """The names of a package's tests."""
    folder = os.path.dirname(package["manifest_path"])
    found = set()
    for place, folders, files in os.walk(folder):
        # Another package may lie below.
        folders[:] = [f for f in folders if f != "target" and not os.path.exists(os.path.join(place, f, "Cargo.toml"))]
        for name in files:
            if name.endswith(".rs"):
                with open(os.path.join(place, name), encoding="utf-8") as opened:
                    found |= set(TEST.findall(opened.read()))
    return found


def main():
    with open(TABLE, "rb") as opened:
        table = tomllib.load(opened)
    known, found, faults = packages(), {}, []
    asked = table.pop("packages", {})
    for system in sorted(set(ROWS) | set(table)):
        rows = table.get(system, {})
        if system not in ROWS:
            faults.append(f"{system}: tests/house/replaced.py does not know it")
        elif len(rows) < ROWS[system]:
            faults.append(f"{system}: {len(rows)} rows where there were {ROWS[system]}")
        for row, names in rows.items():
            if not names:
                faults.append(f"{system}, {row}: no test")
            for name in names:
                package, _, test = name.partition("::")
                if package not in known:
                    faults.append(f"{system}, {row}: {package} is no package")
                    continue
                if package not in found:
                    found[package] = tests(known[package])
                if test not in found[package]:
                    faults.append(f"{system}, {row}: {package} has no test {test}")
    for name in sorted(ASKED):
        user = known.get(asked.get(name, ""))
        if user is None or not any(d["name"] == name for d in user["dependencies"]):
            faults.append(f"package {name}: no package of the workspace is named that uses it")
    rows = sum(map(len, table.values()))
    print(f"{rows} rows of {len(table)} systems that this project replaces")
    for fault in faults:
        print(f"error: tests/replaced.toml: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
