#!/usr/bin/env python3
"""Holds the project's pages to plain English by textlint; `make prose` runs it.

    tests/house/prose.py TEXTLINT

TEXTLINT is the folder in which the packages of tests/prose are installed. The rules are in tests/prose/textlintrc.json: how long a
sentence may be, words that stand twice, and the words of tests/prose/words.yml with what to write instead. Each rule is tried on a
sentence that breaks it first, so that a rule that finds nothing any more does not pass as clean pages.
"""

import json
import os
import subprocess
import sys

from architecture import ROOT

# Every page; of the changelog only the newest block that says something.
PAGES = ["*.md", ":!:CHANGELOG.md"]
CHANGELOG = "CHANGELOG.md"
CONFIGURATION = "tests/prose/textlintrc.json"
# Each breaks one rule.
BROKEN = {
    "sentence-length": "The gateway takes what the client sends, " + "and looks at the next part of it, " * 6 + "and then answers.",
    "write-good": "The gateway verifies the the token.",
    "prh": "The token lies in a file.",
}
PLAIN = "The gateway verifies the token. It answers 401 if the token is not good.\n\n`the the` and `lies in` are code.\n"


class Textlint:
    def __init__(self, folder):
        self.command = [os.path.join(folder, "node_modules/.bin/textlint"), "--rules-base-directory", os.path.join(folder, "node_modules"), "--config", CONFIGURATION]

    def files(self, names):
        return self._run(names, None)

    def text(self, name, text):
        return self._run(["--stdin", "--stdin-filename", name], text)

    def _run(self, arguments, text):
        """What it found: (file, line, rule, message)."""
        done = subprocess.run([*self.command, "--format", "json", *arguments], cwd=ROOT, input=text, stdout=subprocess.PIPE, text=True)
        if done.returncode not in (0, 1):
            sys.exit(f"textlint ended with {done.returncode}")
        found = json.loads(done.stdout) if done.stdout.strip() else []
        return [
            (os.path.relpath(file["filePath"], ROOT), message["line"], message["ruleId"], " ".join(message["message"].split()))
            for file in found
            for message in file["messages"]
        ]


def newest_block(changelog):
    """The newest block with text, on its own lines; all others are empty, so that lines keep their numbers."""
    kept, said, over = [], False, False
    for line in changelog.split("\n"):
        heading = line.startswith("## ")
        over = over or (heading and said)
        said = said or bool(line.strip() and not line.startswith("#"))
        kept.append("" if over else line)
    return "\n".join(kept)


def main():
    textlint = Textlint(sys.argv[1])
    broken = {rule for _, _, rule, _ in textlint.text("broken.md", "\n\n".join(BROKEN.values()))}
    if broken != set(BROKEN):
        sys.exit(f"the sentences that break {sorted(BROKEN)} were reported by {sorted(broken)}")
    if found := textlint.text("plain.md", PLAIN):
        sys.exit(f"a plain page is reported: {found}")

    listed = subprocess.run(["git", "ls-files", "-z", *PAGES], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    pages = sorted(set(listed.split("\0")) - {""})
    found = textlint.files(pages)
    with open(os.path.join(ROOT, CHANGELOG), encoding="utf-8") as file:
        found += textlint.text(CHANGELOG, newest_block(file.read()))
    for file, line, rule, message in found:
        print(f"{file}:{line}: {rule}: {message}", file=sys.stderr)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
