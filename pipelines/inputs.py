"""Inputs of a run: paths, globs, folders, URIs and published path lists become shards.

A shard is known by its content.  Its identity is the digest of its bytes (on object stores the store's own
digest of the object, so that nothing is downloaded for it), together with its format; a file that is moved
or renamed keeps its identity and what was computed for it, a file that changes becomes another shard.
"""

from __future__ import annotations

import fnmatch
import gzip
import io
import os
import posixpath
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO, cast
from urllib.parse import quote, unquote

import pyarrow.fs as pafs

from curation.errors import InputError
from curation.sources import FORMATS, detect_format
from curation.sources.formats import find_format
from pipelines.canonical import digest_stream, key_of
from pipelines.storage import resolve

GLOB = "*?["
_PLAIN = "/:@!$&'()*+,;=~"  # what may stand in the path of a URI as it is, beside letters and digits


@dataclass(frozen=True)
class Shard:
    """One input file.

    Attributes:
        name: shortest end of its path that is unique in the run; what the ledger calls it.
        uri: where it lies.
        size: bytes.
        digest: of its content, ``blake2b:…`` or ``etag:…``.
        ordinal: 0, or the number of files with the same content before it in the order of their URIs.
        identity: 32 hex digits; ids and keys derive from it.
    """

    name: str
    uri: str
    size: int
    digest: str
    ordinal: int
    identity: str

    def plain(self) -> dict[str, Any]:
        """As plain data, for ``run.json`` and for workers."""
        return asdict(self)

    def open(self) -> BinaryIO:
        """A seekable stream of its bytes."""
        filesystem, path = resolve(self.uri)
        return cast(BinaryIO, filesystem.open_input_file(path))


Check = Callable[[str], None]


def find_shards(
    inputs: Sequence[str],
    base: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    check: Check = lambda uri: None,
) -> list[Shard]:
    """Expand inputs to shards, sorted by identity so that the order of inputs does not matter.

    Args:
        inputs: local paths, folders, globs, URIs, or lists of paths (``*.paths``, ``*.paths.gz``, as Common
            Crawl publishes them: one path a line).
        base: what the lines of a path list are relative to; default the folder of the list.
        on_progress: called with (files done, files in all) while digests are computed.
        check: called with every path and URI before anything of it is looked at; raises to refuse it.

    Raises:
        InputError: for an input that does not exist, holds nothing, or has an unknown format.
    """
    uris = sorted({uri for entry in inputs for uri in _expand(entry, base, check)})
    if not uris:
        raise InputError("no input given; name at least one shard, folder or glob")
    for uri in uris:
        check(uri)
        detect_format(uri)  # refuses unknown formats before anything is read
    names = _short_names(uris)
    with ThreadPoolExecutor(min(8, (os.cpu_count() or 1) * 2)) as pool:
        facts = []
        for done, fact in enumerate(pool.map(_size_and_digest, uris), start=1):
            facts.append(fact)
            if on_progress:
                on_progress(done, len(uris))
    shards = []
    seen: dict[tuple[str, str], int] = {}
    for uri, name, (size, digest) in zip(uris, names, facts, strict=True):
        content = (digest, detect_format(uri))
        ordinal = seen.get(content, 0)
        seen[content] = ordinal + 1
        shards.append(Shard(name, uri, size, digest, ordinal, key_of("shard", *content, ordinal)))
    return sorted(shards, key=lambda shard: shard.identity)


def _expand(entry: str, base: str | None, check: Check) -> Iterable[str]:
    if "://" not in entry:
        entry = os.path.abspath(os.path.expanduser(entry))
    check(_fixed(entry))
    if _without_query(entry).endswith((".paths", ".paths.gz")):
        return _expand_list(entry, base, check)
    filesystem, path = resolve(entry)
    if any(char in path for char in GLOB) and filesystem.get_file_info(path).type == pafs.FileType.NotFound:
        found = [_address(match, entry, filesystem, path) for match in _glob(filesystem, path)]
        if not found:
            raise InputError("the pattern matches no file", entry)
        return found
    info = filesystem.get_file_info(path)
    if info.type == pafs.FileType.File:
        return [entry]
    if info.type == pafs.FileType.Directory:
        return _expand_folder(filesystem, path, entry)
    raise InputError("no such file or folder", entry)


def _expand_folder(filesystem: pafs.FileSystem, path: str, entry: str) -> list[str]:
    """The shards below a folder.  Other files lie beside them in most folders (``_SUCCESS``, a README, checksums)."""
    infos = filesystem.get_file_info(pafs.FileSelector(path, recursive=True))
    files = sorted(info.path for info in infos if info.type == pafs.FileType.File)
    shards = [file for file in files if find_format(file) and not _is_hidden(file[len(path) :])]
    if shards:
        return [_address(file, entry, filesystem, path) for file in shards]
    raise InputError(_why_nothing([file[len(path) :].lstrip("/") for file in files]), entry)


def _why_nothing(files: list[str]) -> str:
    """What is wrong with a folder that holds no shard, by the files that it holds."""
    if not files:
        return "the folder holds no file"
    hidden = next(filter(find_format, files), None)
    if hidden:
        return f"in a folder, names that begin with . or _ do not count; name {hidden!r} by itself to have it read"
    known = " ".join(sorted(FORMATS))
    return f"the folder holds no file of a known format, {files[0]!r} is none; understood are {known}"


def _is_hidden(path: str) -> bool:
    """Whether a name on the way says that it is no data: what tools leave behind, and what is not complete."""
    return any(part.startswith((".", "_")) for part in path.split("/"))


def _fixed(entry: str) -> str:
    """The part of an input before any pattern: what is looked at before there are files."""
    body = _without_query(entry)
    parts = body.split("/")
    fixed = next((place for place, part in enumerate(parts) if any(char in part for char in GLOB)), None)
    return entry if fixed is None else "/".join(parts[:fixed]) + entry[len(body) :]


def _expand_list(entry: str, base: str | None, check: Check) -> list[str]:
    filesystem, path = resolve(entry)
    try:
        with filesystem.open_input_file(path) as stream:
            data = stream.read()
    except FileNotFoundError:
        raise InputError("no such list of paths", entry) from None
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.GzipFile(fileobj=io.BytesIO(data)).read(1 << 30)
        except (OSError, EOFError) as error:
            raise InputError(f"the list of paths is damaged: {error}", entry) from None
    if base is None:
        root, options = _split_options(entry, filesystem)
        root = posixpath.dirname(_without_query(root))
    else:
        root, options = _split_options(base, resolve(base)[0])
    lines = [line.strip() for line in data.decode("utf-8", "replace").splitlines()]
    paths = [line for line in lines if line and not line.startswith("#")]
    if not paths:
        raise InputError("the list names no path", entry)
    return [found for line in paths for found in _expand(_joined(root, line, options), None, check)]


def _joined(root: str, line: str, options: str) -> str:
    """A line of a list as an input of its own."""
    if "://" in line:
        return line
    path = posixpath.join(root, line)
    return path + options if "://" in path else path


def _glob(filesystem: pafs.FileSystem, pattern: str) -> list[str]:
    parts = pattern.split("/")
    fixed = next(index for index, part in enumerate(parts) if any(char in part for char in GLOB))
    folder = "/".join(parts[:fixed]) or "/"
    infos = filesystem.get_file_info(pafs.FileSelector(folder, recursive=True, allow_not_found=True))
    return sorted(info.path for info in infos if info.type == pafs.FileType.File and _matches(info.path, parts))


def _matches(path: str, pattern: list[str]) -> bool:
    """Match part by part; ``**`` stands for any number of folders."""
    return _match_parts(path.split("/"), pattern)


def _match_parts(parts: list[str], pattern: list[str]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_match_parts(parts[skip:], pattern[1:]) for skip in range(len(parts) + 1))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], pattern[0]) and _match_parts(parts[1:], pattern[1:])


def _without_query(uri: str) -> str:
    return uri.split("?", 1)[0] if "://" in uri else uri


def _split_options(uri: str, filesystem: pafs.FileSystem) -> tuple[str, str]:
    """A URI without its options, and these with their question mark.

    Options are Arrow's (``s3://bucket/key?endpoint_override=…``): they say how to reach the store, so they hold for
    all that lies in it.  To fsspec a question mark is part of the name.
    """
    if "://" not in uri or _is_fsspec(filesystem):
        return uri, ""
    body, mark, options = uri.partition("?")
    return body, mark + options


def _is_fsspec(filesystem: pafs.FileSystem) -> bool:
    return isinstance(filesystem, pafs.PyFileSystem) and isinstance(filesystem.handler, pafs.FSSpecHandler)


def _address(found: str, entry: str, filesystem: pafs.FileSystem, path: str) -> str:
    """How to reach a file that was found below an entry.

    Args:
        found: its path inside the filesystem.
        entry: path or URI that was given; what stands in it before the path (scheme, host, credentials) and
            behind it (options) is that of the file too.
        path: of the entry, inside the filesystem.
    """
    if "://" not in entry:
        return found
    if entry.startswith("file://"):  # whoever has opened it: Arrow opens what is found, or its encoding would differ
        return f"file://{quote(found, safe=_PLAIN)}"
    body, options = _split_options(entry, filesystem)
    inner = path.strip("/")
    body = body.rstrip("/") if inner else body
    # Arrow's URIs are percent-encoded, those of fsspec are not.
    decode: Callable[[str], str] = str if _is_fsspec(filesystem) else unquote
    at = next((at for at in range(len(body), -1, -1) if decode(body[at:]) == inner), None)
    if at is None:  # some of fsspec's filesystems rewrite paths; Arrow leaves them as they are
        return str(filesystem.handler.fs.unstrip_protocol(found))
    found = found if _is_fsspec(filesystem) else quote(found, safe=_PLAIN)
    return body[:at] + found.lstrip("/") + options


def _size_and_digest(uri: str) -> tuple[int, str]:
    filesystem, path = resolve(uri)
    info = filesystem.get_file_info(path)
    if not isinstance(filesystem, pafs.LocalFileSystem):
        tag = _store_digest(filesystem, path)
        if tag:
            return int(info.size), tag
    try:
        with filesystem.open_input_stream(path, compression=None) as stream:
            return int(info.size), digest_stream(cast(BinaryIO, stream))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", uri) from None


def _store_digest(filesystem: pafs.FileSystem, path: str) -> str | None:
    """The object store's own digest of an object, where it tells one."""
    if _is_fsspec(filesystem):
        info = filesystem.handler.fs.info(path)
        tag = info.get("ETag") or info.get("etag") or info.get("md5Hash")
        return f"etag:{str(tag).strip(chr(34))}" if tag else None
    return None


def _short_names(uris: Sequence[str]) -> list[str]:
    """For each URI the fewest last parts of its path that no other shares; all of it where only a query differs."""
    parts = [_without_query(uri).split("/") for uri in uris]
    names = [""] * len(uris)
    undecided = list(range(len(uris)))
    length = 1
    while undecided:
        tails = {index: "/".join(parts[index][-length:]) for index in undecided}
        count = Counter(tails.values())
        for index in undecided:
            names[index] = tails[index]
        undecided = [i for i in undecided if count[tails[i]] > 1 and length < len(parts[i])]
        length += 1
    count = Counter(names)
    return [uri if count[name] > 1 else name for uri, name in zip(uris, names, strict=True)]
