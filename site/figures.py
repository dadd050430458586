#!/usr/bin/env python3
"""The figures of docs/operate/sizing.md and docs/native.md are those of docs/performance.md and docs/reliability.md.

    site/figures.py [--write]

`make site` runs it: it fails if a page says something else than what was measured last, and with --write it writes the pages.
"""

import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SIZING, NATIVE = "docs/operate/sizing.md", "docs/native.md"
# The columns of the tables of performance.md.
CPU, REQUESTS, MEMORY = 1, 4, 7


class Measured:
    def __init__(self, performance, reliability):
        self.performance, self.reliability = performance, reliability

    def load(self, load, chain, column):
        """A median of performance.md: of a load, a chain and a column."""
        _, found, rest = self.performance.partition(f"\n### {load}\n")
        section = rest.partition("\n### ")[0]
        row = re.search(rf"^\| {re.escape(chain)} \|.*$", section, re.MULTILINE)
        if not found or not row:
            raise LookupError(f"docs/performance.md has no row {chain} of {load}")
        return float(row[0].split("|")[column + 1].split()[0])

    def soak(self, workers, row):
        """The last figure of a row of reliability.md."""
        _, found, rest = self.reliability.partition(f"<!-- begin soak with {workers} workers -->")
        figures = re.search(rf"^\| {re.escape(row)}.*\| ([\d, ]+) \|$", rest.partition("<!-- end ")[0], re.MULTILINE)
        if not found or not figures:
            raise LookupError(f"docs/reliability.md has no row {row} with {workers} workers")
        return int(figures[1].split(",")[-1])

    def line(self, what, chain):
        """A figure of performance.md that has a line of its own."""
        found = re.search(rf"^{re.escape(what)}, {re.escape(chain)}: ([\d.]+) ", self.performance, re.MULTILINE)
        if not found:
            raise LookupError(f"docs/performance.md has no line {what}, {chain}")
        return float(found[1])

    def forms(self):
        """The parts of the page about both forms of the filter, by name."""
        pairs = [
            ("small `GET` by HTTP/2, token known, µs of one core", ",.0f", lambda form: self.load("get_h2", f"{form}_warm", CPU)),
            ("token seen for the first time, RS256, µs of one core", ",.0f", lambda form: self.load("get_h2", f"{form}_cold_rs256", CPU)),
            ("the same, ES384", ",.0f", lambda form: self.load("get_h2", f"{form}_cold_es384", CPU)),
            ("the same, PS256", ",.0f", lambda form: self.load("get_h2", f"{form}_cold_ps256", CPU)),
            ("memory of Envoy with two workers at rest, MiB", ",.0f", lambda form: self.line("memory with two workers at rest, MiB", f"{form}_warm")),
            ("seconds until two workers are ready", ".1f", lambda form: self.line("seconds until two workers are ready", f"{form}_warm")),
        ]
        lines = ["| | `wasm` | `native` |", "|---|---:|---:|"]
        rows = [f"| {name} | {figure('gateway'):{form}} | {figure('native'):{form}} |" for name, form, figure in pairs]
        return {"forms": "\n".join(lines + rows) + "\n"}

    def sizes(self):
        """The parts of the page about sizes, by name."""
        small = self.load("get_h2", "gateway_warm", CPU)
        idle = self.load("get_h2", "gateway_warm", MEMORY)
        watches = self.load("watches_5000", "gateway_warm", MEMORY) - idle
        processor = [
            ("small `GET` by HTTP/2, token known", small),
            ("the same through Envoy alone, without a login", self.load("get_h2", "envoy", CPU)),
            ("small `GET` by HTTP/1.1, token known", self.load("get_h1", "gateway_warm", CPU)),
            ("token seen for the first time, RS256", self.load("get_h2", "gateway_cold_rs256", CPU)),
            ("the same, ES256", self.load("get_h2", "gateway_cold_es256", CPU)),
            ("the same, ES384", self.load("get_h2", "gateway_cold_es384", CPU)),
            ("the same, PS256", self.load("get_h2", "gateway_cold_ps256", CPU)),
            ("a list of 100 MB", self.load("list_100mb", "gateway_warm", CPU)),
            ("one event of one watch", self.load("watches_5000", "gateway_warm", CPU)),
        ]
        memory = [
            ("Envoy with 2 workers, small requests", idle),
            ("with 8 workers, after an hour of load", self.soak(8, "memory of Envoy, MiB")),
            ("the program beside it", self.soak(2, "memory of the program, MiB")),
            ("5,000 open watches, more", watches),
        ]
        real = self.load("get_h2_apiserver", "gateway_warm", REQUESTS)
        return {
            "processor": table("a request | microseconds of one core", processor),
            "core": f"So one core does about {round(1_000_000 / small, -3):,.0f} small requests a second. kube-apiserver is slower than that by far.\n"
            f"In front of a real one, the two cores of the test gave {round(real, -2):,.0f} requests a second for everything together.\n",
            "memory": table("| MiB", memory),
        }


def table(head, rows):
    left, _, right = head.partition("|")
    lines = [f"| {left.strip()} | {right.strip()} |", "|---|---:|"]
    return "\n".join(lines + [f"| {name} | {value:,.0f} |" for name, value in rows]) + "\n"


def filled(path, page, tables):
    """The page with these parts between its marks."""
    for name, content in tables.items():
        pattern = rf"(<!-- begin {name} -->\n\n).*?(\n<!-- end {name} -->)"
        page, count = re.subn(pattern, lambda marks, content=content: marks[1] + content + marks[2], page, flags=re.DOTALL)
        if count != 1:
            raise LookupError(f"{path} has no part {name}")
    return page


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def main():
    measured = Measured(read("docs/performance.md"), read("docs/reliability.md"))
    behind = False
    for path, tables in ((SIZING, measured.sizes()), (NATIVE, measured.forms())):
        page = read(path)
        wanted = filled(path, page, tables)
        if wanted == page:
            continue
        if sys.argv[1:] == ["--write"]:
            with open(os.path.join(ROOT, path), "w", encoding="utf-8") as file:
                file.write(wanted)
            continue
        print(f"error: {path} has other figures than docs/performance.md and docs/reliability.md: site/figures.py --write", file=sys.stderr)
        behind = True
    return int(behind)


if __name__ == "__main__":
    sys.exit(main())
