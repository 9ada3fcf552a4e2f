"""Fails where a crate that is to be published could not be, or would be published without what its users need.

`cargo package` refuses a dependency by path that names no version. What it lets through is refused here.
"""

import json
import pathlib
import subprocess
import sys

# What a registry shows, and what the licence asks to be passed on.
FIELDS = ("description", "license", "repository", "readme")
FILES = ("LICENSE", "README.md")


def check(packages, files_of):
    """What is missing: `files_of` tells the files that a package's archive would have."""
    for package in packages:
        for field in FIELDS:
            if not package[field]:
                yield f"{package['name']}: its manifest has no `{field}`"
        files = files_of(package["name"])
        for name in FILES:
            if name not in files:
                yield f"{package['name']}: its archive has no {name}"


def main():
    root = pathlib.Path(__file__).resolve().parents[2]

    def run(*arguments):
        return subprocess.run(["cargo", *arguments], cwd=root, check=True, stdout=subprocess.PIPE, text=True).stdout

    members = json.loads(run("metadata", "--locked", "--no-deps", "--format-version", "1"))["packages"]
    published = [package for package in members if package["publish"] != []]
    wrong = list(check(published, lambda name: run("package", "--list", "--allow-dirty", "-p", name).splitlines()))
    if not wrong:
        # All at once, so that they may depend on each other before any of them was published. What is in the
        # archives was compiled by other steps.
        chosen = [argument for package in published for argument in ("-p", package["name"])]
        run("package", "--locked", "--no-verify", "--allow-dirty", *chosen)
    print("\n".join(wrong) if wrong else f"{len(published)} crates could be published")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
