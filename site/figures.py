#!/usr/bin/env python3
"""The figures of docs/operate/sizing.md are those of docs/performance.md and docs/reliability.md.

    site/figures.py [--write]

`make site` runs it: it fails if the page says something else than what was measured last, and with --write it writes the page.
"""

import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = "docs/operate/sizing.md"
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

    def tables(self):
        """The parts of the page, by name."""
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


def filled(page, tables):
    """The page with these parts between its marks."""
    for name, content in tables.items():
        pattern = rf"(<!-- begin {name} -->\n\n).*?(\n<!-- end {name} -->)"
        page, count = re.subn(pattern, lambda marks, content=content: marks[1] + content + marks[2], page, flags=re.DOTALL)
        if count != 1:
            raise LookupError(f"{PAGE} has no part {name}")
    return page


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def main():
    page = read(PAGE)
    wanted = filled(page, Measured(read("docs/performance.md"), read("docs/reliability.md")).tables())
    if wanted == page:
        return 0
    if sys.argv[1:] == ["--write"]:
        with open(os.path.join(ROOT, PAGE), "w", encoding="utf-8") as file:
            file.write(wanted)
        return 0
    print(f"error: {PAGE} has other figures than docs/performance.md and docs/reliability.md: site/figures.py --write", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
