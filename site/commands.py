"""Who runs the commands of a page.

A block with a command has a comment directly above it, in the same indentation:

    <!-- run: tests/tests/chart/readme.rs::the_commands_of_istio -->    a test that exists: a file and one of its functions, or a script
    <!-- run: make demo -->                                             a target of the Makefile
    <!-- needs: a cluster of EKS -->                                    nothing runs it; the site says so below it

One that stands for all blocks of a page is written `<!-- run all: ... -->`; a block's own counts before it.
"""

import os
import re

# Blocks of these languages are commands; of those without one, or of text, the ones that begin with a program.
SHELLS = {"sh", "bash", "console", "shell", "powershell"}
TEXTS = {"", "text"}
PROGRAM = re.compile(
    r"^(?:\$ |> )?(?:\w+=\S+ )*(?:sudo )?(?:kubectl|kubectl-oidc|kube-oidc-gateway|helm|make|docker|curl|openssl|istioctl|flux|argocd|aws|gcloud|az|envoy|cargo)\s"
)
MARK = re.compile(r"^\s*<!-- (run|run all|needs): (.+?) -->\s*$")


def is_command(language, lines):
    return language in SHELLS or (language in TEXTS and any(PROGRAM.match(line) for line in lines))


class Commands:
    """The blocks with commands of all pages. `faults` says what is wrong; `needs` has, by page and line, what a block needs that no test has."""

    def __init__(self, root):
        self.root, self.faults, self.needs, self.run = root, [], {}, 0
        with open(os.path.join(root, "Makefile"), encoding="utf-8") as file:
            self.targets = set(re.findall(r"^([a-z0-9-]+):", file.read(), re.MULTILINE))

    def check(self, page):
        for_all = None
        for number, line in enumerate(page.lines):
            mark = MARK.match(line) if page.prose[number] else None
            if mark and mark[1] != "needs" and not self.exists(mark[2]):
                self.faults.append(f"{page.path}:{number + 1}: there is no {mark[2]}")
            if mark and mark[1] == "run all":
                for_all = mark[2]
        for number, language, lines in page.blocks:
            if not is_command(language, lines):
                continue
            mark = MARK.match(page.lines[number - 1]) if number else None
            if mark and mark[1] == "needs":
                self.needs[page.path, number] = mark[2]
            elif mark or for_all:
                self.run += 1
            else:
                self.faults.append(f"{page.path}:{number + 1}: who runs this? Say <!-- run: ... --> or <!-- needs: ... --> above it (site/commands.py)")

    def exists(self, name):
        if name.startswith("make "):
            return name.split()[1] in self.targets
        path, _, function = name.partition("::")
        path = os.path.join(self.root, path)
        if not os.path.isfile(path):
            return False
        with open(path, encoding="utf-8") as file:
            return not function or re.search(rf"\b(?:fn|def) {re.escape(function)}\b", file.read()) is not None
