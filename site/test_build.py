#!/usr/bin/env python3
"""What is wrong with pages is found, each kind of it, and what is right is left alone: `make site` runs this first."""

import os
import tempfile
import unittest

from build import dead_links, text
from commands import Commands
from contents import Contents, Page, slug
from figures import Measured, filled, read, table


class Book(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.files = []
        self.file("Makefile", "demo: filter ## Tell the story\n\tsandbox demo\ne2e:\n")
        self.file("tests/a.rs", "#[test]\nfn it_holds() {}\n")
        self.file("docs/SUMMARY.md", "# Summary\n\n[Front](README.md)\n\n- [B](b.md)\n  - [Chart](../deploy/README.md)\n<!-- pages of more -->\n")
        self.file("docs/README.md", "# Front\n\n[b](b.md#two-words)\n")
        self.file("docs/b.md", "# B\n\n## Two words\n")
        self.file("docs/more/c.md", "# The `third` page\n")
        self.file("deploy/README.md", "# Chart\n")

    def file(self, path, content):
        full = os.path.join(self.folder.name, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(content)
        if path not in self.files:
            self.files.append(path)

    def contents(self):
        contents = Contents(self.folder.name, self.files)
        contents.check_links()
        return contents

    def commands(self, page):
        commands = Commands(self.folder.name)
        commands.check(Page("docs/b.md", page))
        return commands

    def test_a_book_without_faults(self):
        contents = self.contents()
        self.assertEqual(contents.faults, [])
        entries = [line for line in contents.summary if "(" in line]
        self.assertEqual(entries, ["[Front](index.md)", "- [B](b.md)", "  - [Chart](deploy/index.md)", "- [The third page](more/c.md)"])

    def test_a_page_that_may_come_has_its_place(self):
        self.file("docs/SUMMARY.md", "[Front](README.md)\n- [B](b.md)\n  <!-- if there: - [D](d.md) -->\n<!-- pages of more -->\n")
        self.assertEqual(self.contents().faults, [])
        self.assertNotIn("  - [D](d.md)", self.contents().summary)
        self.file("docs/d.md", "# D\n")
        self.assertEqual(self.contents().faults, [])
        self.assertIn("  - [D](d.md)", self.contents().summary)

    def test_contents_are_whole(self):
        self.file("docs/lost.md", "# Lost\n")
        self.file("docs/SUMMARY.md", "[Front](README.md)\n- [B](b.md)\n- [B](b.md)\n- [No](no.md)\n<!-- pages of none -->\n<!-- pages of more -->\n")
        self.assertEqual(
            [fault.partition(": ")[2] for fault in self.contents().faults],
            [
                "docs/b.md is there twice",
                "there is no docs/no.md",
                "no pages in docs/none",
                "in no chapter: give it a line in docs/SUMMARY.md",
            ],
        )

    def test_links_lead_somewhere(self):
        page = "# Front\n\n[a](b.md) [b](b.md#no) [c](no.md) `[d](no.md)` [e](../tests) [f](https://a.example/no)\n[`g`](#front)\n\n```sh\n[h](no.md)\n```\n\n[i]: no.md\n"
        self.file("docs/README.md", page)
        self.file("README.md", "# Root\n\n[a](docs/b.md) [b](docs/no.md)\n")
        self.assertEqual(
            self.contents().faults,
            ["README.md:3: there is no docs/no.md", "docs/README.md:3: no heading of docs/b.md is #no", "docs/README.md:3: there is no no.md", "docs/README.md:10: there is no no.md"],
        )

    def test_links_to_what_is_no_page_lead_to_the_repository(self):
        self.file("docs/more/c.md", "# C\n\n[a](../b.md#two-words) [b](../../tests/a.rs) [c](../../tests) [d](../../deploy/README.md) [e](#c) ![f](../f.png)\n")
        self.file("docs/f.png", "")
        contents = self.contents()
        self.assertEqual(contents.faults, [])
        written = text(contents, Commands(self.folder.name), contents.pages["docs/more/c.md"], "https://git.example/a")
        self.assertIn(
            "[a](../b.md#two-words) [b](https://git.example/a/blob/HEAD/tests/a.rs) [c](https://git.example/a/tree/HEAD/tests)"
            " [d](../deploy/index.md) [e](#c) ![f](../f.png)",
            written,
        )

    def test_anchors_are_those_of_the_host_and_of_the_book(self):
        for heading, anchor in (
            ("Where `a_b` is: 1.38, and [why](c.md)?", "where-a_b-is-138-and-why"),
            ("A--b – c", "a--b--c"),
        ):
            self.assertEqual(slug(heading), anchor)
        self.assertEqual(Page("a.md", "# A\n\n```\n# B\n```\n\n## A\n").anchors, {"a", "a-1"})

    def test_each_block_with_a_command_says_who_runs_it(self):
        for page, faults in (
            ("```sh\nls\n```\n", ["who runs this?"]),
            ("```\nkubectl get pods\n```\n", ["who runs this?"]),
            ("```text\nHTTPS_PROXY=a sudo helm list\n```\n", ["who runs this?"]),
            ("```\nNAME STATUS\n```\n```yaml\na: kubectl\n```\n", []),
            ("<!-- run: tests/a.rs::it_holds -->\n```sh\nls\n```\n", []),
            ("<!-- run: tests/a.rs::it_hold -->\n```sh\nls\n```\n", ["there is no tests/a.rs::it_hold"]),
            ("<!-- run: tests/b.rs -->\n```sh\nls\n```\n", ["there is no tests/b.rs"]),
            ("<!-- run: make demo -->\n```sh\nmake demo\n```\n", []),
            ("<!-- run: make e2e FILTER=a -->\n```sh\nls\n```\n", []),
            ("<!-- run: make demos -->\n```sh\nmake demos\n```\n", ["there is no make demos"]),
            ("<!-- run all: tests/a.rs::it_holds -->\n\n```sh\nls\n```\n\n```sh\nls\n```\n", []),
            ("<!-- run: tests/a.rs::it_holds -->\n\nfar\n\n```sh\nls\n```\n", ["who runs this?"]),
        ):
            found = [fault.partition(": ")[2] for fault in self.commands(page).faults]
            self.assertEqual(len(found), len(faults), page)
            for fault, want in zip(found, faults):
                self.assertTrue(fault.startswith(want), (page, fault))

    def test_what_no_test_runs_is_said_below_it(self):
        self.file("docs/b.md", "# B\n\n## Two words\n\n- a\n\n  <!-- needs: a cloud -->\n  ```sh\n  aws\n  ```\n\nmore\n")
        contents, commands = self.contents(), Commands(self.folder.name)
        page = contents.pages["docs/b.md"]
        commands.check(page)
        self.assertEqual(commands.faults, [])
        written = text(contents, commands, page, "https://git.example/a")
        self.assertIn('  aws\n  ```\n\n  <p class="needs">No test runs this: it needs a cloud.</p>\n\n\nmore', written)

    def test_figures_are_those_of_the_measurements(self):
        performance = (
            "\n### get_h2\n\n| chain | CPU |\n|---|---:|\n| envoy | 79.5 (72.7–87.0) | 1.00 |\n| gateway_warm | 133.9 (118.1–159.9) | 1.55 |\n\n### other\n\n| none | 1 |\n"
        )
        reliability = "<!-- begin soak with 8 workers -->\n\n| memory of Envoy, MiB: start, end | 168, 187 |\n\n<!-- end soak with 8 workers -->\n"
        measured = Measured(performance, reliability)
        self.assertEqual(measured.load("get_h2", "gateway_warm", 1), 133.9)
        self.assertEqual(measured.soak(8, "memory of Envoy, MiB"), 187)
        for asked in (lambda: measured.load("get_h2", "none", 1), lambda: measured.load("get_h3", "envoy", 1), lambda: measured.soak(2, "memory of Envoy, MiB")):
            self.assertRaises(LookupError, asked)
        page = "a\n\n<!-- begin x -->\n\nold\n<!-- end x -->\n"
        self.assertEqual(filled("p.md", page, {"x": table("a | b", [("c", 1523.2)])}), page.replace("old\n", "| a | b |\n|---|---:|\n| c | 1,523 |\n\n"))
        self.assertRaises(LookupError, filled, "p.md", page, {"y": ""})
        measured = Measured("\nseconds until ready, gateway_warm: 1.21 (1.18 to 1.25)\n", "")
        self.assertEqual(measured.line("seconds until ready", "gateway_warm"), 1.21)
        self.assertRaises(LookupError, measured.line, "seconds until ready", "native_warm")
        # Those that the pages have are found in the real ones.
        measured = Measured(read("docs/performance.md"), read("docs/reliability.md"))
        self.assertEqual(set(measured.sizes()), {"processor", "core", "memory"})
        self.assertIn("| seconds until two workers are ready | ", measured.forms()["forms"])

    def test_dead_links_of_the_built_book_are_found(self):
        self.file("book/index.html", '<a href="a.html#b">a</a><a href="a.html#c">a</a><a href="c.html">a</a><img src="d.png"><a href="//e.example">e</a>')
        self.file("book/a.html", '<p id="b"></p><a href="index.html"></a>')
        faults = dead_links(os.path.join(self.folder.name, "book"))
        self.assertEqual(faults, ["index.html: no anchor a.html#c", "index.html: there is no c.html", "index.html: there is no d.png"])


if __name__ == "__main__":
    unittest.main()
