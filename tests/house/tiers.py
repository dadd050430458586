#!/usr/bin/env python3
"""Runs the tiers of `make test` one after the other and prints how long each took, beside its budget.

    tests/house/tiers.py TIER=MINUTES...

The first tier that fails ends the run; the table is printed all the same. A tier over its budget is marked and does not fail:
how fast a machine is, is no property of the code. The budgets are for two cores and a filled cache.
"""

import subprocess
import sys
import time


def main():
    budgets = [(name, float(minutes)) for name, _, minutes in (word.partition("=") for word in sys.argv[1:])]
    rows, failed = [], 0
    for name, budget in budgets:
        start = time.monotonic()
        failed = subprocess.run(["make", "--no-print-directory", name], check=False).returncode
        minutes = (time.monotonic() - start) / 60
        mark = "failed" if failed else "over its budget" if minutes > budget else ""
        rows.append((name, minutes, budget, mark))
        if failed:
            break
    rows.append(("all", sum(row[1] for row in rows), sum(row[1] for row in budgets), ""))
    print(f"\n{'tier':<16} {'minutes':>8} {'budget':>8}", file=sys.stderr)
    for name, minutes, budget, mark in rows:
        print(f"{name:<16} {minutes:>8.1f} {budget:>8.1f}  {mark}".rstrip(), file=sys.stderr)
    return failed


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
