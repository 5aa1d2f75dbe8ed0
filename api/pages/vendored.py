"""What is not ours among the assets: version, licence and hash of each file, and how to take a newer one.

    python -m api.pages.vendored          check what is there against the lock file
    python -m api.pages.vendored --take   take the versions named below from the npm registry, and write the lock file

The lock file is ``static/vendor/lock.json``; a test checks it.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent / "static" / "vendor"
LOCK = FOLDER / "lock.json"


class Package(NamedTuple):
    """A package of the npm registry, and which of its files are kept under which names."""

    name: str
    version: str
    licence: str
    files: dict[str, str]


PACKAGES = (
    Package("htmx.org", "2.0.11", "0BSD", {"dist/htmx.min.js": "htmx.min.js", "LICENSE": "htmx.LICENSE"}),
    Package(
        "echarts", "6.1.0", "Apache-2.0",
        {"dist/echarts.esm.min.js": "echarts.esm.min.js", "LICENSE": "echarts.LICENSE", "NOTICE": "echarts.NOTICE"},
    ),
)  # fmt: skip


def lock() -> list[dict[str, Any]]:
    """What the lock file should say of the files that are there."""
    return [
        {
            "name": package.name, "version": package.version, "licence": package.licence,
            "files": {kept: _sha256(FOLDER / kept) for kept in package.files.values()},
        }
        for package in PACKAGES
    ]  # fmt: skip


def take() -> None:
    """Fetch every package and keep its files."""
    for package in PACKAGES:
        with tempfile.TemporaryDirectory() as folder:
            command = ["npm", "pack", f"{package.name}@{package.version}", "--pack-destination", folder, "--silent"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
                for inside, kept in package.files.items():
                    member = archive.extractfile(f"package/{inside}")
                    assert member is not None, f"{package.name} has no {inside}"
                    (FOLDER / kept).write_bytes(member.read())
    LOCK.write_text(json.dumps(lock(), indent=1) + "\n")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    if "--take" in sys.argv:
        take()
    elif json.loads(LOCK.read_text()) != lock():
        sys.exit(f"{LOCK} and the files beside it differ; see {__file__}")
