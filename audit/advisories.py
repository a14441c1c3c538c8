#!/usr/bin/env python3
"""Holds Cargo.lock against the security advisories in advisories.toml, without a network.

    audit/advisories.py check          fails when a locked version is affected, or a crate was never looked up
    audit/advisories.py refresh DIR    brings the list up to date from a checkout of the RustSec advisory database

Needs Python 3.11 and nothing else.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIST = HERE / "advisories.toml"
LOCK = HERE.parent / "Cargo.lock"
HEAD = """\
# Security advisories of the crates in Cargo.lock, for an audit without a network.
#
# Ids and versions are facts of the RustSec advisory database; the text of an advisory is at
# https://rustsec.org/advisories/ID.html. A version is affected where neither `patched` nor `unaffected` matches it.
#
# To refresh: check out https://github.com/rustsec/advisory-db somewhere, run `audit/advisories.py refresh DIR`, and say
# in a line of your own (`about`) what each new advisory is. To be done when a dependency is added, and before a release.
# One that no version mends, and that does no harm here, may be let through by saying why (`accepted`).
"""


def main(args):
    match args:
        case ["check"]:
            return check()
        case ["refresh", directory]:
            return refresh(Path(directory))
    print(__doc__, file=sys.stderr)
    return 2


def check():
    """Prints what is wrong; gives the exit status."""
    known = tomllib.loads(LIST.read_text())
    wrong = []
    for name, versions in sorted(locked().items()):
        if name not in known["looked_up"]:
            wrong.append(f"`{name}` was never looked up: refresh the list (see {LIST.name})")
    for advisory in known["advisory"]:
        for version in locked().get(advisory["crate"], []):
            if affected(version, advisory) and not advisory.get("accepted"):
                wrong.append(f"`{advisory['crate']}` {version} is affected by {advisory['id']}: {advisory['about']}")
        if not advisory["about"]:
            wrong.append(f"{advisory['id']}: say in a line what it is about")
    for line in wrong:
        print(f"audit: {line}", file=sys.stderr)
    if not wrong:
        accepted = [advisory["id"] for advisory in known["advisory"] if advisory.get("accepted")]
        none = f"none applies but what is accepted: {', '.join(accepted)}" if accepted else "none applies"
        print(f"audit: {len(locked())} crates, {len(known['advisory'])} advisories of {known['as_of']}, {none}")
    return 1 if wrong else 0


def refresh(database):
    """Rewrites the list from a checkout, keeping what was said of each advisory."""
    old = tomllib.loads(LIST.read_text()) if LIST.exists() else {"advisory": []}
    said = {advisory["id"]: advisory for advisory in old["advisory"]}
    git = ["git", "-C", str(database), "log", "-1", "--format=%cs"]
    as_of = subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()
    names = sorted(locked())
    found = []
    for name in names:
        for file in sorted(database.glob(f"crates/{name}/RUSTSEC-*.md")):
            found += advisory_of(file, said)
    LIST.write_text(written(as_of, names, found))
    for advisory in found:
        if not advisory["about"]:
            print(f"new: {advisory['id']} ({advisory['crate']}); say what it is about", file=sys.stderr)
    return 0


def advisory_of(file, said):
    front = tomllib.loads(re.search(r"```toml\n(.*?)```", file.read_text(), re.S).group(1))
    advisory, versions = front["advisory"], front.get("versions", {})
    if "withdrawn" in advisory:
        return []
    return [{
        "id": advisory["id"],
        "crate": advisory["package"],
        "patched": versions.get("patched", []),
        "unaffected": versions.get("unaffected", []),
        "about": said.get(advisory["id"], {}).get("about", ""),
        "accepted": said.get(advisory["id"], {}).get("accepted", ""),
    }]


def written(as_of, names, advisories):
    lines = [HEAD, f'as_of = "{as_of}"', "", "looked_up = ["]
    lines += [f'  "{name}",' for name in names] + ["]"]
    for advisory in advisories:
        lines += ["", "[[advisory]]"]
        lines += [f"{key} = {toml(value)}" for key, value in advisory.items() if value or key == "about"]
    return "\n".join(lines) + "\n"


def toml(value):
    if isinstance(value, list):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def locked():
    """Versions by crate; the workspace's own crates have no source and are left out."""
    crates = {}
    for package in tomllib.loads(LOCK.read_text())["package"]:
        if "source" in package:
            crates.setdefault(package["name"], []).append(package["version"])
    return crates


def affected(version, advisory):
    fine = advisory.get("patched", []) + advisory.get("unaffected", [])
    return not any(all(matches(version, part) for part in rule.split(",")) for rule in fine)


def matches(version, rule):
    """Whether a version fits one comparison, by Cargo's rules; a bare version means `^`."""
    sign, wanted = re.fullmatch(r"\s*(>=|<=|>|<|=|\^)?\s*(\S+)\s*", rule).groups()
    have, want = key(version), key(wanted)
    match sign:
        case ">=":
            return have >= want
        case "<=":
            return have <= want
        case ">":
            return have > want
        case "<":
            return have < want
        case "=":
            return have == want
    # The first number that is not zero must stay.
    numbers = want[0]
    fixed = next((i for i, number in enumerate(numbers) if number), 2) + 1
    return have >= want and have[0][:fixed] == numbers[:fixed]


def key(version):
    """A version to compare by: its numbers, and a pre-release below the release."""
    numbers, _, pre = version.partition("+")[0].partition("-")
    numbers = [int(number) for number in numbers.split(".")]
    return (tuple(numbers + [0] * (3 - len(numbers))), not pre, pre)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
