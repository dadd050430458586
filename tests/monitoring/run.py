#!/usr/bin/env python3
"""Has promtool look at the alert rules and the dashboards.

    tests/monitoring/run.py

The rules' own unit tests run (alerts.test.yaml); each rule must have a case in which it fires and the fresh installation one in
which none does. Each expression of a dashboard is parsed.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
MONITORING = ROOT / "deploy/helm/kube-oidc-gateway/monitoring"
ALERTS = MONITORING / "alerts.yaml"
TESTS = ROOT / "tests/monitoring/alerts.test.yaml"


def promtool(*words):
    subprocess.run(["promtool", *map(str, words)], check=True)


def check_cases():
    """Every alert fires somewhere."""
    rules = set(re.findall(r"^  - alert: (\S+)$", ALERTS.read_text(), re.M))
    text = TESTS.read_text()
    fired = set(re.findall(r'exp_samples: \[\{labels: \'\{alertname="(\w+)"\}', text))
    if rules != fired:
        sys.exit(f"{TESTS.name}: without a case in which it fires: {sorted(rules - fired)}; unknown: {sorted(fired - rules)}")
    if "name: A fresh installation" not in text:
        sys.exit(f"{TESTS.name}: no fresh installation")


def check_dashboards():
    """As recording rules: promtool has no other way to parse an expression."""
    rules = []
    for path in sorted((MONITORING / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                name = f"{path.stem}:panel{panel['id']}:{target['refId']}"
                rules.append({"record": name, "expr": target["expr"].replace("$__rate_interval", "5m")})
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump({"groups": [{"name": "dashboards", "rules": rules}]}, file)
        file.flush()
        promtool("check", "rules", file.name)


def main():
    promtool("check", "rules", ALERTS)
    check_cases()
    promtool("test", "rules", TESTS)
    check_dashboards()


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
