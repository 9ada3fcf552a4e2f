"""Fails where a published crate needs a dependency that wants a newer Rust than the workspace promises.

The other half of the promise, the standard library's own interfaces, is kept by clippy's
`incompatible_msrv`, which reads the same `rust-version`.
"""

import json
import pathlib
import subprocess
import sys


def version(text):
    """A version as numbers that compare."""
    numbers = [int(part) for part in text.split("-")[0].split(".")]
    return tuple(numbers + [0] * (3 - len(numbers)))


def needed(metadata):
    """The ids of all packages that somebody who depends on a published crate compiles."""
    published = {p["id"] for p in metadata["packages"] if p["publish"] != []}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    waiting = [member for member in metadata["workspace_members"] if member in published]
    found = set(waiting)
    while waiting:
        for dependency in nodes[waiting.pop()]["deps"]:
            kinds = {kind["kind"] for kind in dependency["dep_kinds"]}
            if kinds != {"dev"} and dependency["pkg"] not in found:
                found.add(dependency["pkg"])
                waiting.append(dependency["pkg"])
    return found


def check(metadata):
    """What breaks the promise."""
    members = set(metadata["workspace_members"])
    packages = {p["id"]: p for p in metadata["packages"]}
    promised = {packages[member]["rust_version"] for member in members}
    if None in promised or len(promised) != 1:
        yield f"every member states `rust-version.workspace = true`; they state {sorted(map(str, promised))}"
        return
    oldest = promised.pop()
    for package_id in sorted(needed(metadata)):
        package = packages[package_id]
        wants = package["rust_version"]
        if wants and version(wants) > version(oldest):
            yield f"{package['name']} {package['version']} wants Rust {wants}; the workspace promises {oldest}"


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    command = ["cargo", "metadata", "--locked", "--all-features", "--format-version", "1"]
    metadata = json.loads(subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE).stdout)
    wrong = list(check(metadata))
    print("\n".join(wrong) if wrong else f"{len(needed(metadata))} packages build with the oldest Rust promised")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
