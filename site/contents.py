"""The pages of the site: which there are, in which order, and what of them is wrong before anything is built.

The order is docs/SUMMARY.md, a list of links as mdBook has it. Its pages stay where they are in the repository; a page of another folder
may be in it, too. A comment `<!-- pages of FOLDER -->` stands for all pages of that folder of docs, in the order of their names, and
`<!-- if there: - [TITLE](PAGE) -->` for a page that another change brings.
"""

import os
import re

SUMMARY = "docs/SUMMARY.md"
ENTRY = re.compile(r"^(\s*)(?:- )?\[(.*)\]\(([^)]*)\)\s*$")
PERHAPS = re.compile(r"^(\s*)<!-- if there: (- \[.*\]\(([^)]*)\)) -->\s*$")
FOLDER = re.compile(r"^(\s*)<!-- pages of (\S+) -->\s*$")
FENCE = re.compile(r"^\s*(`{3,}|~{3,})\s*([^\s`]*)")
HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*#*\s*$")
# Inline links and pictures, and definitions of links. What stands in code is no link.
LINK = re.compile(r"(\]\()([^()\s]+)((?:\s+\"[^\"]*\")?\))")
DEFINITION = re.compile(r"^(\s{0,3}\[[^\]]+\]:\s+)(\S+)(.*)$")
CODE = re.compile(r"(`+)(?:.|\n)*?\1")


class Page:
    """A page of the repository: its lines, its headings' anchors and its blocks."""

    def __init__(self, path, text):
        self.path, self.lines = path, text.split("\n")
        self.blocks, self.anchors, self.title = [], set(), None
        fence, seen = None, {}
        # Whether a line is outside of fenced blocks.
        self.prose = []
        for number, line in enumerate(self.lines):
            found = FENCE.match(line)
            inside = fence is not None
            if found and not inside:
                fence = found[1]
                self.blocks.append((number, found[2], []))
            elif inside and len(line.strip()) >= len(fence) and not line.strip().strip(fence[0]):
                fence = None
            elif inside:
                self.blocks[-1][2].append(line)
            self.prose.append(not inside and not found)
            heading = HEADING.match(line) if self.prose[-1] else None
            if heading:
                self.title = self.title or plain(heading[2])
                anchor = slug(heading[2])
                count = seen[anchor] = seen.get(anchor, -1) + 1
                self.anchors.add(f"{anchor}-{count}" if count else anchor)

    def links(self):
        """The links with the numbers of their lines."""
        for number, line in enumerate(self.lines):
            if self.prose[number]:
                bare = CODE.sub(lambda code: " " * len(code[0]), line)
                yield from ((number, link[2]) for link in LINK.finditer(bare))
                definition = DEFINITION.match(bare)
                if definition:
                    yield number, definition[2]

    def with_links(self, change):
        """The lines with each link as `change` wants it."""
        for number, line in enumerate(self.lines):
            if not self.prose[number]:
                yield line
                continue
            bare = CODE.sub(lambda code: "\0" * len(code[0]), line)
            place, text = 0, ""
            definition = DEFINITION.match(bare)
            found = [definition] if definition else LINK.finditer(bare)
            for link in found:
                text += line[place : link.start(2)] + change(link[2])
                place = link.end(2)
            yield text + line[place:]


def plain(heading):
    """A heading's text without its marks."""
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("**", "")


def slug(heading):
    """A heading's anchor, as GitHub and mdBook make it."""
    kept = (c if c.isalnum() or c in "-_" else "-" if c.isspace() else "" for c in plain(heading))
    return "".join(kept).lower()


class Contents:
    """docs/SUMMARY.md with its pages. `faults` says what is wrong, a line for each."""

    def __init__(self, root, files):
        self.root, self.files, self.faults = root, set(files), []
        self.folders = {os.path.dirname(file) for file in files}
        for folder in list(self.folders):
            while folder:
                folder = os.path.dirname(folder)
                self.folders.add(folder)
        self.pages, self.summary, self.others = {}, [], {}
        for number, line in enumerate(self.read(SUMMARY).split("\n")):
            perhaps = PERHAPS.match(line)
            if perhaps and os.path.normpath(f"docs/{perhaps[3]}") in self.files:
                line = perhaps[1] + perhaps[2]
            folder = FOLDER.match(line)
            entry = ENTRY.match(line)
            if folder:
                self.add_folder(number, folder[1], f"docs/{folder[2]}")
            elif entry:
                path = os.path.normpath(f"docs/{entry[3]}")
                self.add(number, path)
                bullet = "- " if line.lstrip().startswith("- ") else ""
                self.summary.append(f"{entry[1]}{bullet}[{entry[2]}]({self.place(path)})")
            else:
                self.summary.append(line)
        for path in sorted(self.files):
            if path.startswith("docs/") and path.endswith(".md") and path not in self.pages and path != SUMMARY:
                self.faults.append(f"{path}: in no chapter: give it a line in {SUMMARY}")

    def add_folder(self, number, indent, folder):
        pages = sorted(p for p in self.files if os.path.dirname(p) == folder and p.endswith(".md"))
        if not pages:
            self.faults.append(f"{SUMMARY}:{number + 1}: no pages in {folder}")
        for path in pages:
            if path not in self.pages:
                self.add(number, path)
                self.summary.append(f"{indent}- [{self.pages[path].title}]({self.place(path)})")

    def add(self, number, path):
        if path in self.pages:
            self.faults.append(f"{SUMMARY}:{number + 1}: {path} is there twice")
        if path not in self.files:
            self.faults.append(f"{SUMMARY}:{number + 1}: there is no {path}")
            return
        self.pages[path] = Page(path, self.read(path))

    def read(self, path):
        with open(os.path.join(self.root, path), encoding="utf-8") as file:
            return file.read()

    @staticmethod
    def place(path):
        """Where a page or a picture lies in the book: docs is its root, and a README is its folder's index."""
        path = path.removeprefix("docs/")
        return re.sub(r"README\.md$", "index.md", path)

    def target(self, page, link):
        """A link's file and anchor; None for one that leads out of the repository."""
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            return None
        path, _, anchor = link.partition("#")
        path = os.path.normpath(os.path.join(os.path.dirname(page.path), path)) if path else page.path
        return path, anchor

    def check_links(self):
        """Every link of every page leads to a file or folder of the repository, and to a heading that is there; also those of pages that are in no chapter."""
        for page in map(self.page, sorted(path for path in self.files if path.endswith(".md") and path != SUMMARY)):
            for number, link in page.links():
                found = self.target(page, link)
                if found is None:
                    continue
                path, anchor = found
                if path not in self.files and path not in self.folders:
                    self.faults.append(f"{page.path}:{number + 1}: there is no {link}")
                elif anchor and path.endswith(".md") and anchor not in self.page(path).anchors:
                    self.faults.append(f"{page.path}:{number + 1}: no heading of {path} is #{anchor}")

    def page(self, path):
        """A page, of the book or not."""
        if path in self.pages:
            return self.pages[path]
        if path not in self.others:
            self.others[path] = Page(path, self.read(path))
        return self.others[path]
