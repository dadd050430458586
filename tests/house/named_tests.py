#!/usr/bin/env python3
"""Holds the tables that name tests to the tests that exist; `make lint` runs it.

tests/replaced.toml says what this project replaces. It fails if a system or a row is gone, if a row has no test, if a test that a
row names is gone, or if a package that was asked for is not used any more.

tests/fields.toml says where the effect of each field of GatewayConfiguration is seen. It fails if a field has no row, if a row has
no field, if its test is gone, or if no file with a test of that name speaks of the field.
"""

import json
import os
import re
import sys
import tomllib

from architecture import ROOT, packages

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
# Made of the types themselves, and held to them by a test (envoy/program/tests/docs/chart.rs).
SCHEMA = "deploy/helm/kube-oidc-gateway/values.schema.json"
DOCUMENT = "gatewayConfiguration"
TEST = re.compile(r"#\[(?:\w+::)*test\b[^\]]*\]\s*(?:#\[[^\]]*\]\s*)*(?:pub\s+)?(?:async\s+)?fn\s+(\w+)")


class Tests:
    """The tests of the workspace by package and name."""

    def __init__(self):
        self.packages, self.found = packages(), {}

    def files(self, name):
        """The texts of the files with a test of this name, PACKAGE::TEST."""
        package, _, test = name.partition("::")
        if package not in self.packages:
            return []
        if package not in self.found:
            self.found[package] = self.read(os.path.dirname(self.packages[package]["manifest_path"]))
        return self.found[package].get(test, [])

    @staticmethod
    def read(folder):
        found = {}
        for place, folders, files in os.walk(folder):
            # Another package may lie below.
            folders[:] = [f for f in folders if f != "target" and not os.path.exists(os.path.join(place, f, "Cargo.toml"))]
            for name in files:
                if name.endswith(".rs"):
                    with open(os.path.join(place, name), encoding="utf-8") as opened:
                        text = opened.read()
                    for test in TEST.findall(text):
                        found.setdefault(test, []).append(text)
        return found


def table(name):
    with open(os.path.join(ROOT, "tests", name), "rb") as opened:
        return tomllib.load(opened)


def replaced(tests):
    """What is wrong with the table of what this project replaces, and how many rows of how many systems it has."""
    systems, faults = table("replaced.toml"), []
    asked = systems.pop("packages", {})
    for system in sorted(set(ROWS) | set(systems)):
        rows = systems.get(system, {})
        if system not in ROWS:
            faults.append(f"{system}: tests/house/named_tests.py does not know it")
        elif len(rows) < ROWS[system]:
            faults.append(f"{system}: {len(rows)} rows where there were {ROWS[system]}")
        for row, names in rows.items():
            if not names:
                faults.append(f"{system}, {row}: no test")
            faults += [f"{system}, {row}: there is no test {name}" for name in names if not tests.files(name)]
    for name in sorted(ASKED):
        user = tests.packages.get(asked.get(name, ""))
        if user is None or not any(d["name"] == name for d in user["dependencies"]):
            faults.append(f"package {name}: no package of the workspace is named that uses it")
    return faults, f"{sum(map(len, systems.values()))} rows of {len(systems)} systems that this project replaces"


def configuration():
    """The fields of GatewayConfiguration, `a` or `a.b`."""
    with open(os.path.join(ROOT, SCHEMA), encoding="utf-8") as opened:
        definitions = json.load(opened)["definitions"]
    for name, field in definitions[DOCUMENT]["properties"].items():
        if name in ("apiVersion", "kind"):
            continue
        inner = definitions.get(field.get("$ref", "").rpartition("/")[2], {}).get("properties")
        yield from (f"{name}.{each}" for each in inner) if inner else (name,)


def fields(tests):
    """What is wrong with the table of fields, and how many there are."""
    rows, known = table("fields.toml"), set(configuration())
    faults = [f"{field}: no row" for field in sorted(known - set(rows))]
    faults += [f"{field}: there is no such field" for field in sorted(set(rows) - known)]
    for field, name in rows.items():
        texts, word = tests.files(name), field.rpartition(".")[2]
        in_rust = re.sub("[A-Z]", lambda letter: "_" + letter[0].lower(), word)
        if not texts:
            faults.append(f"{field}: there is no test {name}")
        elif not any(word in text or in_rust in text for text in texts):
            faults.append(f"{field}: the file of {name} does not speak of it")
    return faults, f"{len(rows)} fields of GatewayConfiguration, each with the test of its effect"


def main():
    tests, failed = Tests(), False
    for name, check in (("replaced.toml", replaced), ("fields.toml", fields)):
        faults, summary = check(tests)
        print(summary)
        for fault in faults:
            print(f"error: tests/{name}: {fault}", file=sys.stderr)
        failed = failed or bool(faults)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
