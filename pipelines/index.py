"""The index of published corpora: what a later run, or a person with a text, needs to find their near-duplicates.

    INDEX/
      index.json            settings, sorted runs in order, retracted documents; replaced as a whole
      segments/<key>/       one immutable sorted run each: fingerprints and text hashes by prefix, ids

Texts are not copied: they are read from the corpora when a candidate must be proven.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.duplicates.bands import Bands, bands_for, fingerprints
from curation.duplicates.find import similarities
from curation.duplicates.shingles import facts
from curation.duplicates.signature import signatures
from curation.errors import InputError
from pipelines.canonical import key_of, pretty_json
from pipelines.compared import published_columns, published_texts
from pipelines.deduplication.earlier import (
    ID,
    PREFIXES,
    PRINT,
    TEXT_HASH,
    Earlier,
    Part,
    Segment,
    part_texts,
)
from pipelines.deduplication.records import Step, StepWriter, records, split
from pipelines.kinds import comparison_of
from pipelines.locks import locked
from pipelines.storage import MANIFEST, Storage

if TYPE_CHECKING:
    from pipelines.recipe import Deduplication, LoadedRecipe

INDEX = "index.json"
LOCK = ".lock"
_CHANGING = "{}: another command is changing this index"
INDEX_VERSION = 1
RUN_DOCUMENTS = 1 << 18  # of a sorted run that is made at once; compaction makes longer ones

Progress = Callable[[int, int], None]


def settings_for(parameters: Deduplication) -> dict[str, Any]:
    """What an index must have been made with to serve a recipe."""
    bands = bands_for(Fraction(parameters.threshold), parameters.recall)
    return {
        "definition": parameters.definition,
        "scheme": parameters.scheme,
        "permutations": bands.permutations,
        "rows": bands.rows,
        "seed": parameters.seed,
        **facts(),
    }


@dataclass(frozen=True)
class Twin:
    """A document of an index that is like a text.

    Attributes:
        dataset, version: of its corpus.
        id: of the document.
        similarity: exact.
        shared, union: sizes of intersection and union of both sets of shingles.
        text: of the document.
    """

    dataset: str
    version: str
    id: str
    similarity: float
    shared: int
    union: int
    text: str


class Index:
    """An index that exists.

    Args:
        uri: its folder, or a finished run that has one in ``index/``.

    Raises:
        InputError: when there is none.
    """

    def __init__(self, uri: str) -> None:
        self.storage = _find(uri)
        self._read()

    def _read(self) -> None:
        where = self.storage.path(INDEX)
        try:
            state = json.loads(self.storage.read(INDEX))
            version = state["index"]
            self.settings: dict[str, Any] = state["settings"]
            self._corpora = {entry["folder"]: [tuple(c) for c in entry["corpora"]] for entry in state["segments"]}
            self._retracted: dict[str, list[int]] = state["retracted"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"is not an index that can be read: {error}", where) from None
        if version != INDEX_VERSION:
            raise InputError(f"is an index of version {version}, known is {INDEX_VERSION}", where)
        strange = [folder for folder in self._corpora if not re.fullmatch("segments/[0-9a-f]{32}", folder)]
        if strange:
            raise InputError(f"names a sorted run {strange[0]!r} that is none", where)

    @staticmethod
    def create(uri: str, settings: dict[str, Any]) -> Index:
        """An empty index; the one that is there, if somebody else was quicker.

        Raises:
            Busy: while somebody else makes it.
        """
        storage = Storage(uri)
        lock = locked(storage.path(LOCK), _CHANGING.format(uri)) if storage.local else nullcontext()
        with lock:
            if not storage.exists(INDEX):
                storage.write(INDEX, _state(settings, {}, {}))
        return Index(uri)

    @property
    def segments(self) -> list[Segment]:
        """Sorted runs in order.

        Raises:
            InputError: when one is damaged or gone, saying whose it is.
        """
        for folder, corpora in self._corpora.items():
            if self.storage.manifest(folder) is None:
                names = ", ".join(f"{name} ({uri})" for name, _, uri in corpora)
                raise InputError(
                    f"this sorted run is damaged or gone; add again what is in it: {names}", self.storage.path(folder)
                )
        return [self._segment(folder) for folder in self._corpora]

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One change at a time, from what the index is now (on local disks)."""
        if not self.storage.local:
            yield
            return
        with locked(self.storage.path(LOCK), _CHANGING.format(self.storage.uri)):
            self._read()
            yield

    def _segment(self, folder: str) -> Segment:
        retracted = np.array(sorted(self._retracted.get(folder, [])), np.int64)
        return Segment(Step(self.storage, folder), retracted)

    def add(self, run: str, name: str | None = None, on_progress: Progress | None = None) -> int:
        """Add the corpus of a finished run; each call that is killed can be repeated.

        Args:
            run: its folder or URI.
            name: of the corpus; default the recipe's.

        Returns:
            Number of documents added; 0 when this very corpus is in the index.
        """
        with self._changing():
            parts = corpus_parts(run, name)
            self._mend(parts)
            known = {(part.version, part.file) for segment in self.segments for part in segment.parts}
            groups = _groups([part for part in parts if (part.version, part.file) not in known])
            total, added = sum(part.rows for group in groups for part in group), 0
            made = {}
            for group in groups:
                folder = f"segments/{key_of('segment', self.settings, [_identity(part) for part in group])}"
                if self.storage.manifest(folder) is None:
                    self._build(folder, group)
                made[folder] = sorted({part.corpus for part in group})
                added += sum(part.rows for part in group)
                if on_progress:
                    on_progress(added, total)
            # All of a corpus or nothing of it; an older version of it gives way.
            retracted = self._superseded(parts) if made else self._retracted
            self._replace({**self._corpora, **made}, retracted)
        return added

    def _mend(self, parts: Sequence[Part]) -> None:
        """Leave out damaged sorted runs that hold nothing but the corpus that is being added."""
        own = {part.uri for part in parts}
        for folder, corpora in list(self._corpora.items()):
            if self.storage.manifest(folder) is None and {uri for _, _, uri in corpora} <= own:
                del self._corpora[folder]

    def _superseded(self, parts: Sequence[Part]) -> dict[str, list[int]]:
        """Retracted documents, those of older versions of a corpus among them."""
        uri, version = parts[0].uri, parts[0].version
        retracted = {folder: set(numbers) for folder, numbers in self._retracted.items()}
        for folder in self._corpora:
            first = 0
            for part in self._segment(folder).parts:
                if part.uri == uri and part.version != version:
                    retracted.setdefault(folder, set()).update(range(first, first + part.rows))
                first += part.rows
        return {folder: sorted(numbers) for folder, numbers in retracted.items()}

    def compact(self) -> int:
        """Merge all sorted runs into one, without retracted documents; return how many there were."""
        with self._changing():
            return self._compact()

    def _compact(self) -> int:
        segments = self.segments
        if len(segments) < 2 and not any(len(segment.retracted) for segment in segments):
            return len(segments)
        earlier = Earlier(tuple(segments))
        folder = f"segments/{key_of('compacted', earlier.plain())}"
        if self.storage.manifest(folder) is None:
            writer = StepWriter(self.storage, folder)
            for file, dtype in (("prints", PRINT), ("hashes", TEXT_HASH)):
                writer.write(file, dtype, (_merged(earlier, file, prefix) for prefix in range(PREFIXES)))
            writer.write("ids", ID, [np.concatenate([s.step.read("ids", 0) for s in segments])])
            writer.commit(parts=[asdict(part) for part in earlier.parts], key=folder.rsplit("/", 1)[1])
        old = list(self._corpora)
        self._replace({folder: sorted({part.corpus for part in earlier.parts})}, {})
        for name in old:
            for file in self.storage.list(name):
                self.storage.delete(file)
        return len(segments)

    def retract(self, ids: Sequence[str]) -> list[str]:
        """Take documents out of the account; what repeats them is decided anew by the next run.

        Returns:
            Ids that were found; those that had been retracted before count too.
        """
        names = np.array([bytes.fromhex(id_) for id_ in ids if _is_id(id_)], "V16")
        found = []
        with self._changing():
            retracted = {folder: set(numbers) for folder, numbers in self._retracted.items()}
            for folder in self._corpora:
                stored = self._segment(folder).step.read("ids", 0)["id"]
                keys = np.ascontiguousarray(stored).view("V16").reshape(-1)
                for number in np.flatnonzero(np.isin(keys, names)).tolist():
                    retracted.setdefault(folder, set()).add(number)
                    found.append(stored[number].tobytes().hex())
            self._replace(self._corpora, {folder: sorted(numbers) for folder, numbers in retracted.items()})
        return sorted(set(found))

    def twins(self, text: str, threshold: Fraction | None = None) -> list[Twin]:
        """Documents whose exact similarity with a text is above a threshold (0.8), the most similar first."""
        threshold = threshold or Fraction(4, 5)
        column, earlier = pa.array([text], pa.large_string()), Earlier(tuple(self.segments))
        prints, hashes = _sketch(column, self.settings)
        numbers = [np.empty(0, np.int64)]
        for value in np.unique(prints).tolist():
            numbers.append(earlier.prints(value, value + 1, np.array([value], np.uint64))[1])
        first = int(hashes[0, 0])
        numbers.append(earlier.hashes(first, first + 1, hashes[:, 0])[1])
        places = earlier.places(np.unique(np.concatenate(numbers)))
        found = [
            twin for number in np.unique(places["shard"]) for twin in self._compare(column, earlier, places, number)
        ]
        above = [twin for twin in found if twin.shared * threshold.denominator > twin.union * threshold.numerator]
        return sorted(above, key=lambda twin: (-Fraction(twin.shared, twin.union), twin.dataset, twin.id))

    def _compare(self, text: pa.Array, earlier: Earlier, places: np.ndarray, number: int) -> Iterator[Twin]:
        """A text with some documents of one part."""
        part, own = earlier.parts[number], places[places["shard"] == number]
        for rows, texts in part_texts(part, own["row"].astype(np.int64)):
            ids = own["id"][np.searchsorted(own["row"], rows)]
            same = pa.concat_arrays([text] * len(texts))
            shared, union = similarities(same, texts.cast(text.type), self.settings["definition"])
            for place, other in enumerate(texts.to_pylist()):
                both, either = int(shared[place]), int(union[place])
                name = ids[place].tobytes().hex()
                yield Twin(part.dataset, part.version, name, both / either, both, either, other)

    def _build(self, folder: str, parts: Sequence[Part]) -> None:
        prints, hashes, ids = [], [], []
        first = 0
        for part in parts:
            for id_column, text in _rows(part):
                found, text_hash = _sketch(text, self.settings)
                number = np.arange(first, first + len(text))
                prints.append(records(PRINT, print=found.reshape(-1), document=np.repeat(number, found.shape[1])))
                hashes.append(records(TEXT_HASH, hash=text_hash, document=number))
                ids.append(np.frombuffer(bytes.fromhex("".join(id_column)), np.uint8).reshape(-1, 16))
                first += len(text)
        writer = StepWriter(self.storage, folder)
        whole = np.concatenate([np.empty(0, PRINT), *prints])
        whole = whole[np.lexsort((whole["document"], whole["print"]))]
        writer.write("prints", PRINT, split(whole, _prefix(whole["print"]), PREFIXES))
        texts = np.concatenate([np.empty(0, TEXT_HASH), *hashes])
        texts = texts[np.lexsort((texts["document"], texts["hash"][:, 1], texts["hash"][:, 0]))]
        writer.write("hashes", TEXT_HASH, split(texts, _prefix(texts["hash"][:, 0]), PREFIXES))
        writer.write("ids", ID, [records(ID, id=np.concatenate([np.empty((0, 16), np.uint8), *ids]))])
        writer.commit(parts=[asdict(part) for part in parts], key=folder.rsplit("/", 1)[1])

    def _replace(self, corpora: dict[str, list[Any]], retracted: dict[str, list[int]]) -> None:
        self._corpora = corpora
        self._retracted = {folder: numbers for folder, numbers in retracted.items() if numbers and folder in corpora}
        self.storage.write(INDEX, _state(self.settings, self._corpora, self._retracted))


def open_earlier(recipe: LoadedRecipe, versions: Iterable[str] | None = None, output: str | None = None) -> Earlier:
    """The earlier corpora that a recipe names.

    Args:
        versions: of the corpora that count; None for all.
        output: root of the run; its own corpus is no earlier one, even if the index has it by now.

    Raises:
        InputError: for one that is not there or was made with other settings.
    """
    parameters = recipe.recipe.comparison
    if parameters is None or not parameters.earlier:
        return Earlier()
    found: dict[str, Segment] = {}
    for uri in earlier_uris(recipe):
        index = Index(uri)
        _check_settings(index, settings_for(parameters), uri)
        found |= {segment.step.facts["key"]: segment for segment in index.segments}
    known = {part.version: part for segment in found.values() for part in segment.parts}
    own = {version for version, part in known.items() if output is not None and part.uri == _root(output)}
    missing = sorted(set(versions or ()) - set(known))
    if missing:
        raise InputError(f"version {missing[0]} of a corpus that this run remembers is in no index any more")
    counted = frozenset((set(known) if versions is None else set(versions)) - own)
    segments = [replace(segment, versions=counted) for segment in found.values()]
    return Earlier(tuple(s for s in segments if any(s.counts(part) for part in s.parts)))


def _check_settings(index: Index, expected: dict[str, Any], uri: str) -> None:
    for name, value in expected.items():
        if index.settings.get(name) != value:
            raise InputError(
                f"the index was made with {name} {index.settings.get(name)!r}, the recipe has {value!r}; make another "
                "index, or change the recipe",
                uri,
            )


def remembered(recipe: LoadedRecipe, output: str) -> list[str] | None:
    """Versions of corpora that a finished run remembers, when the same recipe is run again; else None.

    What was added to an index after a run is later than the run: it must not take the run's documents away.
    """
    storage = Storage(output)
    if not storage.exists("run.json"):
        return None
    try:
        run = json.loads(storage.read("run.json"))
        before = (comparison_of(run["recipe"]) or {}).get("earlier", [])
        versions = [corpus["version"] for corpus in run["earlier"]]
    except (ValueError, KeyError, TypeError):
        return None
    comparison = recipe.recipe.comparison
    return versions if comparison is not None and list(comparison.earlier) == before else None


def earlier_uris(recipe: LoadedRecipe) -> list[str]:
    """Where the earlier corpora lie."""
    comparison = recipe.recipe.comparison
    names = comparison.earlier if comparison else ()
    return [name if "://" in name else str(recipe.models_root / name) for name in names]


def prepare_earlier(recipe: LoadedRecipe, on_progress: Progress | None = None) -> None:
    """Make the index of each finished run that a recipe names and that has none yet; it lies in its ``index/``."""
    comparison = recipe.recipe.comparison
    if comparison is None:
        return
    for uri in earlier_uris(recipe):
        storage = Storage(uri)
        if storage.exists(MANIFEST) and not storage.exists(INDEX):
            folder = f"{uri.rstrip('/')}/index"
            exists = Storage(folder).exists(INDEX)
            index = Index(folder) if exists else Index.create(folder, settings_for(comparison))
            index.add(uri, on_progress=on_progress)  # does nothing where all of it is there


def _root(uri: str) -> str:
    return uri if "://" in uri else Storage(uri).root


def corpus_parts(run: str, name: str | None = None) -> list[Part]:
    """The corpus files of a finished run."""
    storage = Storage(run)
    manifest = storage.manifest("")
    if manifest is None:
        raise InputError("holds no finished run (no complete manifest.json); finish it first", run)
    described = json.loads(storage.read("run.json"))
    uri = _root(run)
    return [
        Part(
            name or described["recipe"]["name"],
            manifest["key"],
            uri,
            file,
            entry["rows"],
            entry["bytes"],
            entry["digest"],
        )
        for file, entry in sorted(manifest["files"].items())
        if file.startswith("corpus/")
    ]


def run_settings(run: str) -> dict[str, Any]:
    """Settings that suit the recipe of a finished run."""
    return settings_of(comparison_of(json.loads(Storage(run).read("run.json"))["recipe"]) or {})


def settings_of(comparison: dict[str, Any]) -> dict[str, Any]:
    """Settings that suit the section of a recipe that says how things are compared."""
    from pipelines.recipe import Deduplication

    # What decides about entries beyond their likeness is no setting of an index.
    known = {name: value for name, value in comparison.items() if name in Deduplication.model_fields}
    return settings_for(Deduplication(**known))


def _find(uri: str) -> Storage:
    storage = Storage(uri)
    if storage.exists(INDEX):
        return storage
    inner = Storage(f"{uri.rstrip('/')}/index")
    if inner.exists(INDEX):
        return inner
    if storage.exists(MANIFEST):
        raise InputError(f"has no index yet; make one with: gristmill index add {uri}/index {uri}", uri)
    raise InputError("holds neither an index nor a finished run", uri)


def _state(settings: dict[str, Any], corpora: dict[str, list[Any]], retracted: dict[str, list[int]]) -> bytes:
    segments = [{"folder": folder, "corpora": named} for folder, named in corpora.items()]
    return pretty_json({"index": INDEX_VERSION, "settings": settings, "segments": segments, "retracted": retracted})


def _identity(part: Part) -> list[Any]:
    return [*part.corpus, part.file, part.rows, part.bytes, part.digest]


def _groups(parts: Sequence[Part]) -> list[list[Part]]:
    groups: list[list[Part]] = []
    for part in parts:
        if not groups or sum(other.rows for other in groups[-1]) + part.rows > RUN_DOCUMENTS:
            groups.append([])
        groups[-1].append(part)
    return groups


def _rows(part: Part) -> Iterator[tuple[list[str], pa.Array]]:
    storage = Storage(part.uri)
    with storage.open(part.file) as stream:
        file = pq.ParquetFile(stream)
        id_name, columns = published_columns(file.schema_arrow)
        for batch in file.iter_batches(4096, columns=[id_name, *columns]):
            yield batch.column(id_name).to_pylist(), published_texts(batch)


def _sketch(text: pa.Array, settings: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Fingerprints ``uint64[n, bands]`` and text hashes ``uint64[n, 2]``."""
    permutations, rows = settings["permutations"], settings["rows"]
    found = signatures(text, settings["definition"], settings["scheme"], permutations, settings["seed"])
    return fingerprints(found.minima, Bands(permutations // rows, rows)), found.text_hash


def _prefix(hashes: np.ndarray) -> np.ndarray:
    return (hashes >> np.uint64(56)).astype(np.int64)


def _merged(earlier: Earlier, file: str, prefix: int) -> np.ndarray:
    parts = []
    for segment, first in zip(earlier.segments, earlier.firsts, strict=False):
        part = segment.step.read(file, prefix)
        part = part[~np.isin(part["document"], segment.retracted)].copy()
        part["document"] += np.uint32(first)
        parts.append(part)
    whole = np.concatenate(parts)
    keys = (whole["print"],) if file == "prints" else (whole["hash"][:, 1], whole["hash"][:, 0])
    return whole[np.lexsort((whole["document"], *keys))]


def _is_id(text: str) -> bool:
    return len(text) == 32 and all(character in "0123456789abcdef" for character in text)
