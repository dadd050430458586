"""Keeps of a version's answers what the versions before do not answer: an overlay.

usage: overlay.py KIND ANSWERS BASE.. > OVERLAY

KIND says by what an answer is found: cel, configs or tokens. Each BASE lies over the one before it.
"""

import json
import sys

KEYS = {"cel": ("env", "expr"), "configs": ("name",), "tokens": ("case", "token")}


def answers(kind: str, path: str) -> dict:
    found = {}
    for line in open(path, encoding="utf-8"):
        row = json.loads(line)
        if kind == "tokens" and "tokens" in row:
            for index, token in enumerate(row["tokens"]):
                answer = {key: token[key] for key in ("user", "error") if key in token}
                found[row["name"], index] = {"case": row["name"], "token": index, **answer}
            continue
        kept = {"config", "serviceAccountIssuers"} if kind == "configs" else set()
        key = tuple(row.get(name, "") for name in KEYS[kind])
        found[key] = {name: value for name, value in row.items() if name not in kept}
    return found


def main() -> None:
    kind, path, *bases = sys.argv[1:]
    known = {}
    for base in bases:
        known.update(answers(kind, base))
    for key, answer in answers(kind, path).items():
        if known.get(key) != answer:
            print(json.dumps(answer, ensure_ascii=False, separators=(",", ":")))


if __name__ == "__main__":
    main()
