#!/usr/bin/env python3
"""What makes a release, where it can be wrong without anybody seeing it. `make release-unit` runs it."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True

import chart  # noqa: E402
import documents  # noqa: E402
import libraries  # noqa: E402
import oci  # noqa: E402


class Libraries(unittest.TestCase):
    """A program that needs version TWO of libneeded.so, and libc."""

    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.temporary.cleanup)
        cls.new = cls.library("new", "ONE { global: first; }; TWO { global: second; };", "void first(void) {} void second(void) {}")
        cls.program = cls.compile("program", "void second(void); int main(void) { second(); return 0; }", "-L", cls.folder("new"), "-lneeded")
        cls.old = cls.library("old", "ONE { global: first; };", "void first(void) {}")

    @classmethod
    def folder(cls, name):
        path = pathlib.Path(cls.temporary.name) / name
        path.mkdir(exist_ok=True)
        return str(path)

    @classmethod
    def compile(cls, name, source, *arguments):
        path = pathlib.Path(cls.temporary.name) / name
        subprocess.run(["cc", "-x", "c", "-", "-o", path, *arguments], input=source, text=True, check=True)
        return path.read_bytes()

    @classmethod
    def library(cls, folder, versions, source):
        script = pathlib.Path(cls.folder(folder)) / "versions"
        script.write_text(versions)
        return cls.compile(f"{folder}/libneeded.so", source, "-shared", "-fPIC", "-nostdlib", f"-Wl,--version-script={script}")

    def image(self, **files):
        """Where libc is only named, its versions cannot be compared."""
        return {"usr/lib/libc.so.6": "libc-2.so"} | {name.replace("__", "/"): content for name, content in files.items()}

    def test_an_image_with_all_libraries_lacks_nothing(self):
        files = self.image(bin__program=self.program) | {"usr/lib/libneeded.so": self.new}
        self.assertEqual(libraries.missing(files), [])

    def test_a_library_that_is_not_there_is_named(self):
        self.assertEqual(libraries.missing(self.image(bin__program=self.program)), ["bin/program needs libneeded.so, which is not there"])

    def test_a_library_that_is_too_old_is_named(self):
        files = self.image(bin__program=self.program) | {"usr/lib/libneeded.so": self.old}
        self.assertEqual(libraries.missing(files), ["bin/program needs TWO of libneeded.so, which is older"])

    def test_what_is_no_program_needs_nothing(self):
        self.assertEqual(libraries.missing({"etc/passwd": b"root", "plugin.wasm": b"\0asm"}), [])


class Notes(unittest.TestCase):
    CHANGES = "# Changelog\n\n## Unreleased\n\n## 0.1.0\n\n- [a](docs/a.md#b), [c](#d) and [e](https://e.example)\n\n## 0.0.9\n\n- old\n"

    def test_links_of_the_changelog_lead_to_the_repository(self):
        notes = documents.notes("0.1.0", self.CHANGES, [("gateway", "name@sha256:1")], "https://git.example/blob/abc")
        self.assertIn("[a](https://git.example/blob/abc/docs/a.md#b), [c](#d) and [e](https://e.example)", notes)
        self.assertIn("| gateway | `name@sha256:1` |", notes)
        self.assertNotIn("old", notes)

    def test_a_version_without_a_section_is_refused(self):
        with self.assertRaises(SystemExit):
            documents.notes("0.2.0", self.CHANGES, [], "")


class Bytes(unittest.TestCase):
    def test_the_same_files_are_the_same_layer_in_any_order(self):
        files = [("b", (0o644, b"2")), ("a", (0o755, b"1")), ("c", (0o755, None)), ("d", (0o777, "a"))]
        self.assertEqual(oci.compress(oci.pack(files)), oci.compress(oci.pack(files[::-1])))

    def test_the_chart_names_the_image_by_digest(self):
        digest = f"sha256:{'0' * 64}"
        values = chart.released("values.yaml", (chart.CHART / "values.yaml").read_text(), "registry.example/gateway", digest)
        self.assertIn("  repository: registry.example/gateway\n", values)
        self.assertIn(f"  digest: {digest}\n", values)


if __name__ == "__main__":
    unittest.main()
