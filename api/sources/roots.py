"""Paths below a declared root, and nowhere else."""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

import pyarrow.fs as pafs

from curation.errors import InputError
from pipelines.storage import resolve

SCHEMES = ("s3",)
OPTIONS = frozenset({"region", "scheme", "endpoint_override", "force_virtual_addressing"})  # none is a secret
LISTED = 1000  # entries of one folder that are shown


@dataclass(frozen=True)
class Entry:
    """Something in a folder of a source.

    Attributes:
        path: below the root.
        folder: whether it is one.
        bytes: of a file.
    """

    path: str
    folder: bool
    bytes: int | None


def check_root(root: str) -> str:
    """A root in its canonical form.

    Raises:
        InputError: for a relative path, a folder that is not there, another scheme, or credentials in the address.
    """
    if "\x00" in root:
        raise InputError("a root holds no NUL")
    if "://" in root:
        parts = urlsplit(root)
        if parts.scheme not in SCHEMES:
            raise InputError(f"a root is a local folder or begins with s3://, not {parts.scheme}://")
        if parts.username or parts.password or "@" in parts.netloc:
            raise InputError("a root holds no credentials; give them to the service as AWS_ACCESS_KEY_ID and so on")
        if not parts.netloc:
            raise InputError("a root names its bucket, such as s3://crawls/2026")
        if parts.fragment or not {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)} <= OPTIONS:
            raise InputError(f"the options of a root are {', '.join(sorted(OPTIONS))}, and no others")
        return root.rstrip("/")
    if not os.path.isabs(root):
        raise InputError("a local root is an absolute path")
    real = os.path.realpath(root)
    if not os.path.isdir(real):
        raise InputError("there is no such folder on the machine of the service")
    return real


def clean_path(path: str) -> str:
    """A path below a root, in its plain form; ``""`` for the root itself.

    Raises:
        InputError: for whatever could mean something outside.
    """
    if any(ord(character) < 32 for character in path) or "\\" in path:
        raise InputError("a path holds no control characters and no backslashes")
    if "://" in path or path.startswith(("/", "~")):
        raise InputError("a path is relative to its source")
    if "?" in path.rpartition("/")[2] and "=" in path.rpartition("?")[2]:
        raise InputError("a path holds no options")
    if any(part == ".." for part in path.split("/")):
        raise InputError("a path stays below its source: '..' is not allowed")
    plain = posixpath.normpath(path) if path else ""
    return "" if plain == "." else plain


def address(root: str, path: str) -> str:
    """Path or URI of what lies below a root; options of the root's URI stay at the end."""
    plain = clean_path(path)
    if not plain:
        return root
    if "://" not in root:
        return os.path.join(root, plain)
    # Here they would be read as options, such as another endpoint, or as what they stand for once they are decoded.
    if "?" in plain or "#" in plain:
        raise InputError("a path of an object store holds neither ? nor #")
    clean_path(unquote(plain))
    body, mark, options = root.partition("?")
    return f"{body.rstrip('/')}/{plain}{mark}{options}"


def is_inside(root: str, path: str) -> bool:
    """Whether a local path, symbolic links followed, lies below a root."""
    real = os.path.realpath(path)
    return real == root or real.startswith(root.rstrip("/") + "/")


def browse(root: str, path: str) -> list[Entry]:
    """What lies in a folder of a source, in the order of names, folders first.

    Raises:
        InputError: for a path outside, or one that is no folder, or cannot be read.
    """
    try:
        return _browse(root, path)
    except UnicodeError:
        raise InputError("this folder holds a name that is not UTF-8") from None
    except OSError:
        raise InputError("this folder cannot be read") from None


def _browse(root: str, path: str) -> list[Entry]:
    where = address(root, path)
    local = "://" not in root
    if local and not is_inside(root, where):
        raise InputError("a path stays below its source: this one leads out through a symbolic link")
    filesystem, inner = resolve(where)
    if filesystem.get_file_info(inner).type != pafs.FileType.Directory:
        raise InputError("there is no such folder in this source")
    base = inner.rstrip("/") + "/"
    prefix = clean_path(path)
    found = []
    for info in filesystem.get_file_info(pafs.FileSelector(inner)):
        if info.type not in (pafs.FileType.File, pafs.FileType.Directory):
            continue  # pipes, sockets, devices: no job reads them
        if local and not is_inside(root, info.path):
            continue
        name = info.path[len(base) :].rstrip("/")
        folder = info.type == pafs.FileType.Directory
        found.append(Entry(f"{prefix}/{name}" if prefix else name, folder, None if folder else int(info.size)))
    return sorted(found, key=lambda entry: (not entry.folder, entry.path))
