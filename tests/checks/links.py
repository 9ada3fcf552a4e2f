"""Fails where a link in the project's markdown leads nowhere, or where a page of docs/ is not linked.

Only links inside the project are followed: files, folders and headings. What is on other machines is
not ours to test.
"""

import pathlib
import re
import subprocess
import sys
import urllib.parse

FENCE = re.compile(r"^\s*(```|~~~)")
INLINE_CODE = re.compile(r"`[^`]*`")
LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)<>\s]+)>?(?:\s+\"[^\"]*\")?\s*\)")
REFERENCE = re.compile(r"^\s{0,3}\[[^\]]+\]:\s*<?([^<>\s]+)>?")
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*\s*$")
EXTERNAL = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]*:")


def prose(text):
    """The lines of a page with their numbers, without its blocks of code."""
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if FENCE.match(line):
            fenced = not fenced
        elif not fenced:
            yield number, line


def links(text):
    """Every link target with its line number."""
    for number, line in prose(text):
        line = INLINE_CODE.sub("", line)
        for match in LINK.finditer(line):
            yield number, match.group(1)
        if match := REFERENCE.match(line):
            yield number, match.group(1)


def anchors(text):
    """The anchors that the headings of a page get, as code hosts make them."""
    seen = {}
    for _, line in prose(text):
        if not (match := HEADING.match(line)):
            continue
        title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", match.group(1))
        slug = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        count = seen.get(slug, 0)
        seen[slug] = count + 1
        yield slug if count == 0 else f"{slug}-{count}"


def resolve(page, target, root):
    """The file that a link means, and its anchor."""
    path, _, anchor = urllib.parse.unquote(target).partition("#")
    if not path:
        return page, anchor
    base = root / path.lstrip("/") if path.startswith("/") else page.parent / path
    return base.resolve(), anchor


def check(root, pages):
    """What is wrong with the links of these pages."""
    root = root.resolve()
    pages = [page.resolve() for page in pages]
    linked = set()
    for page in pages:
        for number, target in links(page.read_text(encoding="utf-8")):
            if EXTERNAL.match(target):
                continue
            place = f"{page.relative_to(root)}:{number}: {target}"
            path, anchor = resolve(page, target, root)
            if path != page:
                linked.add(path)
            if not path.exists():
                yield f"{place}: there is no such file"
            elif not path.is_relative_to(root):
                yield f"{place}: is outside the project"
            elif anchor and path.suffix == ".md" and anchor not in anchors(path.read_text(encoding="utf-8")):
                yield f"{place}: the page has no such heading"
    for page in pages:
        in_docs = page.is_relative_to(root / "docs") and page != root / "docs" / "README.md"
        if in_docs and page not in linked and page.parent not in linked:
            yield f"{page.relative_to(root)}: no page links to it"


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    # New files count before they are committed, ignored ones never.
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    names = subprocess.run(listing, cwd=root, check=True, capture_output=True, text=True).stdout
    pages = [root / name for name in names.splitlines() if (root / name).exists()]
    wrong = list(check(root, pages))
    print("\n".join(wrong) if wrong else f"{len(pages)} pages: every link leads somewhere")
    return 1 if wrong or not pages else 0


if __name__ == "__main__":
    sys.exit(main())
