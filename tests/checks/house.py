"""House rules that a program can see. A long file is a warning, the rest fails."""

import pathlib
import re
import subprocess
import sys

LINES_MAX = 600
TOP_LEVEL = {"Cargo.toml", "Cargo.lock", "LICENSE", "README.md", "benches", "connectors", "core", "docs", "tests"}
IGNORE = re.compile(r"#\[ignore(?:\s*=\s*\"([^\"]*)\")?\s*\]")
UNSAFE = re.compile(r"\b(?:allow|expect|warn)\([^)]*\bunsafe_code\b")
# Calls of C that no crate passes on: a module and the files below it.
MAY_BE_UNSAFE = "connectors/kafka/src/native"
# `tests/run` runs the ignored tests where containers are to be had, so no other reason is allowed.
IGNORE_REASON = "needs a container"
EXAMPLE = re.compile(r"(?:.*/)?examples/([^/]+)(?:\.rs|/main\.rs)")


def long_files(files):
    """Files of Rust that probably hold two ideas."""
    for name, text in files:
        lines = text.count("\n")
        if name.endswith(".rs") and lines > LINES_MAX:
            yield f"{name}: {lines} lines, more than {LINES_MAX}: probably two ideas"


def ignored_tests(files):
    """Tests that no step would ever run."""
    for name, text in files:
        if not name.endswith(".rs"):
            continue
        for match in IGNORE.finditer(text):
            if not (match.group(1) or "").startswith(IGNORE_REASON):
                line = text.count("\n", 0, match.start()) + 1
                yield f'{name}:{line}: a test is ignored for no other reason than "{IGNORE_REASON}"'


def unsafe_files(files):
    """Files that switch the lint against `unsafe` off."""
    for name, text in files:
        ours = name == f"{MAY_BE_UNSAFE}.rs" or name.startswith(f"{MAY_BE_UNSAFE}/")
        if name.endswith(".rs") and not ours and UNSAFE.search(text):
            yield f"{name}: unsafe code is allowed in {MAY_BE_UNSAFE} alone"


def examples(names):
    """Examples of one name: cargo puts those of all crates into one folder, where the last one that was built stays."""
    found = {}
    for name in sorted(names):
        match = EXAMPLE.fullmatch(name)
        if match:
            found.setdefault(match.group(1), []).append(name)
    for example, places in found.items():
        if len(places) > 1:
            yield f"{' and '.join(places)}: two examples of one name: let each begin with its system, as sql_{example}"


def top_level(names):
    """What does not belong into the root folder."""
    for first in sorted({name.split("/", 1)[0] for name in names}):
        if first not in TOP_LEVEL and not first.startswith("."):
            yield f"{first}: the root folder holds only {', '.join(sorted(TOP_LEVEL))} and dot files"


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=root, check=True, capture_output=True, text=True).stdout.splitlines()
    names = [name for name in names if (root / name).exists()]
    files = [(name, (root / name).read_text(encoding="utf-8")) for name in names if name.endswith(".rs")]
    for warning in long_files(files):
        print(f"warning: {warning}")
    wrong = [*ignored_tests(files), *unsafe_files(files), *examples(names), *top_level(names)]
    print("\n".join(wrong) if wrong else f"{len(files)} files of Rust keep the house rules")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
