#!/usr/bin/env python3
"""The built site in a real browser: `make site-check` runs it.

    site/check.py FOLDER

FOLDER is the site that `make site` has built. Its pages are opened as files: they need no server, and nothing from another site.
"""

import os
import pathlib
import sys
import unittest

from browser import Browser

BOOK = pathlib.Path(sys.argv.pop(1) if len(sys.argv) > 1 else "target/site/book").resolve()
# The contents of the menu, the page for links that lead nowhere.
OTHERS = {"toc.html", "404.html"}
DARK = ["navy", "coal", "ayu"]
# The contrast of the text to what is behind it (WCAG 2.2, 1.4.3).
CONTRAST = """
const light = (colour) => {
  const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255)
    .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
};
const text = light(getComputedStyle(document.querySelector('main p')).color);
const back = light(getComputedStyle(document.documentElement).backgroundColor);
return (Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05);
"""


def pages():
    return sorted(page for page in BOOK.rglob("*.html") if page.name not in OTHERS)


class Site(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.browser = Browser()

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()

    def setUp(self):
        self.browser.prefers("light")
        self.browser.size(1400, 900)
        self.browser.open((BOOK / "index.html").as_uri())
        self.browser.run("localStorage.clear()")

    def test_every_page_is_two_clicks_away(self):
        self.browser.open((BOOK / "index.html").as_uri())
        # A link's address, and how many of the menu's arrows must be clicked before it is seen.
        found = self.browser.until(
            "const links = [...document.querySelectorAll('nav.sidebar a[href$=\".html\"]')];"
            "return links.length && links.map((link) => {"
            "  let arrows = 0;"
            "  for (let item = link.closest('li').parentElement.closest('li.chapter-item'); item; item = item.parentElement.closest('li.chapter-item'))"
            "    arrows += item.classList.contains('expanded') ? 0 : 1;"
            "  return [link.href, arrows];"
            "});"
        )
        clicks = {address: arrows + 1 for address, arrows in found}
        for page in pages():
            self.assertLessEqual(clicks.get(page.as_uri(), 99), 2, page)
        # And so it is for somebody who clicks.
        self.browser.run("document.querySelector('nav.sidebar a[href$=\"providers/index.html\"]').closest('li').querySelector('.chapter-fold-toggle').id = 'arrow'")
        self.browser.click("#arrow")
        self.browser.click("nav.sidebar a[href$='providers/dex.html']")
        self.browser.until("return document.querySelector('main h1')?.textContent === 'Dex'")

    def test_every_page_is_drawn_and_fits_a_telephone(self):
        for page in pages():
            source = page.read_text(encoding="utf-8")
            diagrams = source.count('class="language-mermaid"')
            with self.subTest(page=str(page.relative_to(BOOK))):
                self.browser.size(360, 800)
                self.browser.open(page.as_uri())
                self.browser.until("return document.querySelectorAll('.diagram svg').length === arguments[0]", diagrams)
                # Who cannot see a diagram is told what it is about.
                self.assertEqual(self.browser.run("return [...document.querySelectorAll('.diagram svg')].filter((it) => !it.querySelector('title')).length"), 0)
                self.assertEqual(self.browser.run("return document.querySelectorAll('.diagram svg [id*=\"error\"], .diagram .error-icon').length"), 0)
                self.assertLessEqual(self.browser.run("return document.documentElement.scrollWidth"), 360)
                # What is wider than the page must scroll by itself.
                wide = self.browser.run(
                    "return [...document.querySelectorAll('main *')].filter((it) => {"
                    "  for (let at = it; at && at.tagName !== 'MAIN'; at = at.parentElement)"
                    "    if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(at).overflowX)) return false;"
                    "  return it.getBoundingClientRect().right > 361;"
                    "}).map((it) => it.outerHTML.slice(0, 80));"
                )
                self.assertEqual(wide, [])
                pictures = self.browser.run("return [...document.images].filter((it) => !it.complete || it.naturalWidth === 0).map((it) => it.src)")
                self.assertEqual(pictures, [])
                names = self.browser.run("return performance.getEntriesByType('resource').map((it) => it.name)")
                self.assertEqual([name for name in names if not name.startswith(("file:", "data:"))], [], "from elsewhere")
                self.assertEqual(self.browser.errors(), [])

    def test_the_picture_of_the_readme_can_be_drawn(self):
        readme = (pathlib.Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
        sources = [rest.partition("```")[0] for rest in readme.split("```mermaid\n")[1:]]
        self.assertEqual(len(sources), 1)
        self.browser.until("return document.querySelector('.diagram svg')")
        self.assertTrue(self.browser.run("return mermaid.parse(arguments[0])", sources[0]))

    def test_links_lead_on(self):
        self.browser.click("main a[href='start/sandbox.html']")
        self.browser.until("return document.querySelector('main h1')?.textContent === 'The sandbox'")
        self.browser.open((BOOK / "operate/observability.html").as_uri())
        self.browser.click("main a[href='../init-and-doctor.html#doctor']")
        top = self.browser.until("return document.querySelector('#doctor')?.getBoundingClientRect().top + 1")
        self.assertLess(top, 200)

    def test_search_finds_a_word(self):
        self.browser.click("#mdbook-search-toggle")
        self.browser.type("#mdbook-searchbar", "telephone-that-nobody-has")
        self.browser.until("return document.querySelector('#mdbook-searchresults-header').textContent.startsWith('No search results')")
        self.browser.open((BOOK / "index.html").as_uri())
        self.browser.click("#mdbook-search-toggle")
        self.browser.type("#mdbook-searchbar", "SubjectAccessReview")
        self.browser.until("return document.querySelectorAll('#mdbook-searchresults a').length > 0")
        self.browser.click("#mdbook-searchresults a")
        self.browser.until("return /SubjectAccessReview/i.test(document.querySelector('main')?.textContent ?? '') && document.querySelector('main mark')")

    def test_light_and_dark(self):
        seen = {}
        for scheme in ("light", "dark"):
            self.browser.prefers(scheme)
            self.browser.open((BOOK / "understand/doors.html").as_uri())
            self.browser.until("return document.querySelector('.diagram svg')")
            classes = self.browser.run("return [...document.documentElement.classList]")
            self.assertEqual(scheme == "dark", any(theme in classes for theme in DARK), classes)
            self.assertGreaterEqual(self.browser.run(CONTRAST), 4.5, scheme)
            seen[scheme] = self.browser.run("return getComputedStyle(document.querySelector('.diagram svg .node rect')).fill")
        self.assertNotEqual(seen["light"], seen["dark"])
        # Who changes the theme has the diagrams in it at once.
        self.browser.click("#mdbook-theme-toggle")
        self.browser.click("#mdbook-theme-light")
        self.browser.until("return getComputedStyle(document.querySelector('.diagram svg .node rect')).fill === arguments[0]", seen["light"])


if __name__ == "__main__":
    if not (BOOK / "index.html").is_file():
        sys.exit(f"{BOOK} has no site: make site")
    os.environ.setdefault("LC_ALL", "C.UTF-8")
    unittest.main()
