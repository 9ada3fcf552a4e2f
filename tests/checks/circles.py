"""Fails where files of a crate import each other in a circle: what both need belongs to a file of its own.

A `mod.rs` or `lib.rs` is a contents page: a name that it passes on counts as the file that has it.
"""

import pathlib
import re
import subprocess
import sys

TESTS = re.compile(r"^#\[cfg\((?:test|doctest)\)\]\s*(?:pub(?:\([^)]*\))? )?mod \w+ \{.*", re.M | re.S)
COMMENT = re.compile(r"^\s*//.*$", re.M)
TREE = re.compile(r"\b(?:pub(?:\([^)]*\))? )?use ((?:crate|super|self|[a-z_]\w*)::[^;]+);")
INLINE = re.compile(r"\b((?:crate|super)(?:::\w+)+)")


def module_of(path):
    """The module of a file below `src`, as a tuple of names."""
    parts = list(pathlib.PurePosixPath(path).with_suffix("").parts)
    if parts[-1] in ("mod", "lib", "main"):
        parts.pop()
    return tuple(parts)


def flat(tree):
    """The paths of a `use` tree."""
    tree = tree.strip()
    head, brace, rest = tree.partition("{")
    if not brace:
        yield [part.strip() for part in tree.split(" as ")[0].split("::") if part.strip()]
        return
    depth, item, prefix = 0, "", [part.strip() for part in head.split("::") if part.strip()]
    for letter in rest[: rest.rindex("}")] + ",":
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            if item.strip():
                for path in flat(item):
                    yield prefix + [part for part in path if part != "self"]
            item = ""
        else:
            item += letter


class Crate:
    """The files of one crate below its `src`, by module."""

    def __init__(self, files):
        self.files = {module_of(name): COMMENT.sub("", TESTS.sub("", text)) for name, text in files}
        self.contents = {module_of(name) for name, _ in files if pathlib.PurePosixPath(name).name in ("mod.rs", "lib.rs")}

    def absolute(self, path, module):
        """A path from the root of the crate, or nothing where it leads to another crate."""
        path = list(path)
        if path[0] == "crate":
            return tuple(path[1:])
        base = list(module)
        if path[0] in ("super", "self"):
            while path and path[0] in ("super", "self"):
                if path.pop(0) == "super":
                    base = base[:-1]
            return tuple(base + path)
        return tuple(base + path) if tuple(base + path[:1]) in self.files else None

    def paths(self, module):
        text = self.files[module]
        for tree in TREE.findall(text):
            yield from flat(tree)
        for path in INLINE.findall(TREE.sub("", text)):
            yield path.split("::")

    def file_of(self, path, seen=()):
        """The file that has what a path names."""
        for length in range(len(path), -1, -1):
            module = path[:length]
            if module not in self.files:
                continue
            if module in self.contents and length < len(path) and module not in seen:
                for passed_on in self.paths(module):
                    target = self.absolute(passed_on, module)
                    if target and target[-1] == path[length] and target[: len(module)] == module and len(target) > len(module) + 1:
                        return self.file_of(target, (*seen, module))
            return module
        return None

    def edges(self):
        edges = {}
        for module in self.files:
            found = set()
            if module not in self.contents:
                for path in self.paths(module):
                    target = self.absolute(path, module)
                    if target is not None:
                        found.add(self.file_of(target))
            edges[module] = found - {module, None} - self.contents
        return edges


def circles(edges):
    """The groups of files that reach each other (Tarjan's strongly connected components)."""
    index, low, stack, on, found = {}, {}, [], set(), []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        on.add(node)
        for target in edges.get(node, ()):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in on:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            group = []
            while not group or group[-1] != node:
                group.append(stack.pop())
                on.discard(group[-1])
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(edges):
        if node not in index:
            visit(node)
    return found


def check(crate, files):
    for group in circles(Crate(files).edges()):
        yield f"{crate}: these files import each other: {', '.join('::'.join(module) for module in group)}"


# The simulated world is one thing in several files: its parts know it, and it knows them.
ONE_THING = {"tests/testkit"}


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    # With files that nobody added yet: they are part of what is about to land.
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.rs"]
    names = subprocess.run(listing, cwd=root, check=True, capture_output=True, text=True).stdout
    crates = {}
    for name in sorted(set(names.splitlines())):
        crate, src, below = name.partition("/src/")
        if src and crate not in ONE_THING and (root / name).exists():
            crates.setdefault(crate, []).append((below, (root / name).read_text(encoding="utf-8")))
    wrong = [line for crate, files in sorted(crates.items()) for line in check(crate, files)]
    print("\n".join(wrong) if wrong else f"{len(crates)} crates: no file imports what imports it")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
