#!/usr/bin/env python3
"""Makes the site of docs/ by mdBook: `make site` runs it.

    site/build.py --mdbook PROGRAM --mermaid FILE --output FOLDER

It fails, with a line for each fault, if a page is in no chapter, a link or an anchor leads nowhere, or a block with a command says neither
which test runs it nor what it needs. Links to what is no page of the site lead to the repository of deploy/project.env.
"""

import argparse
import html.parser
import os
import shutil
import subprocess
import sys
import urllib.parse

from commands import Commands
from contents import Contents

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PICTURES = (".png", ".svg", ".json")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mdbook", required=True)
    parser.add_argument("--mermaid", required=True)
    parser.add_argument("--output", required=True)
    arguments = parser.parse_args()
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    files = [file for file in listed.stdout.split("\0") if file and os.path.exists(os.path.join(ROOT, file))]
    contents, commands = Contents(ROOT, files), Commands(ROOT)
    contents.check_links()
    for page in contents.pages.values():
        commands.check(page)
    faults = contents.faults + commands.faults
    if not faults:
        book = build(arguments, contents, commands)
        faults = dead_links(book)
        print(f"{book}/index.html: {len(contents.pages)} pages, {commands.run} blocks of commands that tests run, {len(commands.needs)} that none can run")
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    return 1 if faults else 0


def build(arguments, contents, commands):
    """Writes the book's sources and has mdBook build it: the folder of its pages."""
    folder = os.path.abspath(arguments.output)
    source, book, project = os.path.join(folder, "src"), os.path.join(folder, "book"), variables()
    shutil.rmtree(folder, ignore_errors=True)
    write(source, "SUMMARY.md", "\n".join(contents.summary))
    for page in contents.pages.values():
        write(source, contents.place(page.path), text(contents, commands, page, project["REPOSITORY"]))
    for file in contents.files:
        if file.startswith("docs/") and file.endswith(PICTURES):
            copy(os.path.join(ROOT, file), os.path.join(source, contents.place(file)))
    copy(arguments.mermaid, os.path.join(source, "mermaid.min.js"))
    for name in ("book.toml", "site.css", "diagrams.js"):
        copy(os.path.join(ROOT, "site", name), os.path.join(folder, name))
    site = urllib.parse.urlsplit(project["SITE"])
    environment = {
        **os.environ,
        "MDBOOK_LOG": "warn",
        "MDBOOK_OUTPUT__HTML__GIT_REPOSITORY_URL": project["REPOSITORY"],
        "MDBOOK_OUTPUT__HTML__SITE_URL": site.path.rstrip("/") + "/",
    }
    subprocess.run([arguments.mdbook, "build", folder], check=True, env=environment)
    return book


def text(contents, commands, page, repository):
    """A page's Markdown as the book has it."""
    here = os.path.dirname(contents.place(page.path))

    def change(link):
        found = contents.target(page, link)
        if found is None or not link.partition("#")[0]:
            return link
        path, anchor = found
        anchor = f"#{anchor}" if anchor else ""
        if path in contents.pages or (path.startswith("docs/") and path.endswith(PICTURES)):
            return os.path.relpath(contents.place(path), here or ".") + anchor
        # HEAD is whatever branch the host shows first.
        kind = "tree" if path in contents.folders else "blob"
        return f"{repository}/{kind}/HEAD/{urllib.parse.quote(path)}{anchor}"

    lines = list(page.with_links(change))
    for number, _, block in reversed(page.blocks):
        needs = commands.needs.get((page.path, number))
        if needs:
            indent = lines[number][: len(lines[number]) - len(lines[number].lstrip())]
            lines.insert(number + len(block) + 2, f"\n{indent}<p class=\"needs\">No test runs this: it needs {needs}.</p>\n")
    return "\n".join(lines)


def variables():
    """What deploy/project.env says."""
    with open(os.path.join(ROOT, "deploy/project.env"), encoding="utf-8") as file:
        pairs = (line.strip().partition("=") for line in file if not line.startswith("#"))
        return {name: value for name, equals, value in pairs if equals}


def write(folder, name, content):
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(content)


def copy(source, target):
    os.makedirs(os.path.dirname(target), exist_ok=True)
    shutil.copyfile(source, target)


class Html(html.parser.HTMLParser):
    """The anchors of a built page, and its links."""

    def __init__(self, content):
        super().__init__()
        self.anchors, self.links = set(), []
        self.feed(content)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if values.get("id"):
            self.anchors.add(values["id"])
        link = values.get("src") if tag in ("img", "script") else values.get("href") if tag in ("a", "link") else None
        if link:
            self.links.append(link)


def dead_links(book):
    """The links of the built pages that lead nowhere: what mdBook made of them is what people follow."""
    pages, faults = {}, []
    for place, _, names in os.walk(book):
        for name in names:
            if name.endswith(".html") and name not in ("toc.html", "print.html", "404.html"):
                path = os.path.join(place, name)
                with open(path, encoding="utf-8") as file:
                    pages[path] = Html(file.read())
    for path, page in pages.items():
        for link in page.links:
            parts = urllib.parse.urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = os.path.normpath(os.path.join(os.path.dirname(path), urllib.parse.unquote(parts.path))) if parts.path else path
            anchor = urllib.parse.unquote(parts.fragment)
            if not os.path.isfile(target):
                faults.append(f"{os.path.relpath(path, book)}: there is no {link}")
            elif anchor and target in pages and anchor not in pages[target].anchors:
                faults.append(f"{os.path.relpath(path, book)}: no anchor {link}")
    return faults


if __name__ == "__main__":
    sys.exit(main())
