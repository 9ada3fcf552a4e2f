"""A check that cannot fail is worthless: each one is shown what it must refuse."""

import pathlib
import tempfile
import unittest

import circles
import house
import links
import oldest_rust
import packages


def project(pages):
    """A folder with these pages, and their paths."""
    root = pathlib.Path(tempfile.mkdtemp(prefix="tidelock-checks-"))
    for name, text in pages.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root, [root / name for name in pages]


def wrong_links(pages):
    return list(links.check(*project(pages)))


class Links(unittest.TestCase):
    def test_good_links_pass(self):
        pages = {
            "README.md": "# One\n[two](docs/two.md#a-heading-its-name) [self](#one) [out](https://example.org)\n",
            "docs/two.md": "## A heading: its `name`\n[back](../README.md) `[code](none.md)`\n```\n[x](y)\n```\n",
        }
        self.assertEqual(wrong_links(pages), [])

    def test_a_missing_file_is_found(self):
        self.assertIn("README.md:2: docs/none.md", wrong_links({"README.md": "\n[x](docs/none.md)\n"})[0])

    def test_a_missing_file_of_a_reference_is_found(self):
        self.assertEqual(len(wrong_links({"README.md": "[x]\n\n[x]: none.md\n"})), 1)

    def test_a_missing_heading_is_found(self):
        self.assertIn("no such heading", wrong_links({"README.md": "# One\n[x](#two)\n"})[0])

    def test_a_page_of_the_docs_that_nothing_links_is_found(self):
        self.assertEqual(wrong_links({"docs/lost.md": "# Lost\n"}), ["docs/lost.md: no page links to it"])


class Packages(unittest.TestCase):
    GOOD = {"name": "a", "description": "d", "license": "l", "repository": "r", "readme": "README.md"}

    def test_a_complete_package_passes(self):
        self.assertEqual(list(packages.check([self.GOOD], lambda _: ["LICENSE", "README.md", "src/lib.rs"])), [])

    def test_a_missing_field_and_a_missing_file_are_found(self):
        wrong = list(packages.check([{**self.GOOD, "description": None}], lambda _: ["README.md"]))
        self.assertEqual(wrong, ["a: its manifest has no `description`", "a: its archive has no LICENSE"])


class Circles(unittest.TestCase):
    def wrong(self, **files):
        return list(circles.check("c", [(name.replace("__", "/") + ".rs", text) for name, text in files.items()]))

    def test_files_that_import_each_other_are_found(self):
        wrong = self.wrong(a="use crate::b::B;", b="use super::a::{self, A};", c="use crate::a::A;")
        self.assertEqual(wrong, ["c: these files import each other: a, b"])

    def test_a_circle_through_a_page_of_contents_is_found(self):
        files = {"m__mod": "mod x;\npub(crate) use x::X;", "m__x": "use crate::y::Y;", "y": "use crate::m::X;"}
        self.assertEqual(self.wrong(**files), ["c: these files import each other: m::x, y"])

    def test_tests_comments_and_children_make_no_circle(self):
        files = {
            "a": "// use crate::b::B;\nuse crate::b::B;",
            "b": "pub struct B;\n#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}\n",
            "m__mod": "mod x;\npub struct M;\nuse x::X;",
            "m__x": "use super::M;",
        }
        self.assertEqual(self.wrong(**files), [])


class House(unittest.TestCase):
    def test_a_long_file_is_found(self):
        self.assertEqual(len(list(house.long_files([("a.rs", "\n" * 601), ("b.rs", "\n" * 600)]))), 1)

    def test_a_test_that_nothing_runs_is_found(self):
        files = [("a.rs", '#[ignore]\n#[ignore = "slow"]\n#[ignore = "needs a container"]\n')]
        self.assertEqual([line.split(" ")[0] for line in house.ignored_tests(files)], ["a.rs:1:", "a.rs:2:"])

    def test_a_file_that_allows_unsafe_code_is_found(self):
        allows = "#![allow(unsafe_code)]"
        self.assertEqual(len(list(house.unsafe_files([("a.rs", allows), ("b.rs", "fn main() {}")]))), 1)
        may = [f"{house.MAY_BE_UNSAFE}.rs", f"{house.MAY_BE_UNSAFE}/queue.rs"]
        self.assertEqual(list(house.unsafe_files([(name, allows) for name in may])), [])

    def test_two_examples_of_one_name_are_found(self):
        names = ["a/examples/scan.rs", "a/examples/read.rs", "b/examples/scan/main.rs", "b/examples/scan/read.rs", "b/src/scan.rs"]
        wrong = list(house.examples(names))
        self.assertEqual(len(wrong), 1)
        self.assertIn("a/examples/scan.rs and b/examples/scan/main.rs", wrong[0])

    def test_a_stray_top_level_file_is_found(self):
        self.assertEqual(len(list(house.top_level(["notes.txt", "core/a.rs", ".ci/run"]))), 1)


class OldestRust(unittest.TestCase):
    def metadata(self, wants, kind):
        ours = {"id": "ours", "name": "ours", "version": "0.1.0", "rust_version": "1.88", "publish": None}
        theirs = {"id": "theirs", "name": "theirs", "version": "1.0.0", "rust_version": wants, "publish": None}
        dependency = {"pkg": "theirs", "dep_kinds": [{"kind": kind}]}
        nodes = [{"id": "ours", "deps": [dependency]}, {"id": "theirs", "deps": []}]
        packages = [ours, theirs]
        return {"packages": packages, "workspace_members": ["ours"], "resolve": {"nodes": nodes}}

    def test_an_older_or_equal_dependency_passes(self):
        self.assertEqual(list(oldest_rust.check(self.metadata("1.88.0", None))), [])
        self.assertEqual(list(oldest_rust.check(self.metadata(None, None))), [])

    def test_a_newer_dependency_is_found(self):
        self.assertEqual(len(list(oldest_rust.check(self.metadata("1.88.1", None)))), 1)
        self.assertEqual(len(list(oldest_rust.check(self.metadata("1.100", "build")))), 1)

    def test_a_newer_dependency_of_tests_alone_passes(self):
        self.assertEqual(list(oldest_rust.check(self.metadata("1.99", "dev"))), [])

    def test_a_member_without_a_promise_is_found(self):
        metadata = self.metadata("1.50", None)
        metadata["packages"][0]["rust_version"] = None
        self.assertEqual(len(list(oldest_rust.check(metadata))), 1)


if __name__ == "__main__":
    unittest.main()
