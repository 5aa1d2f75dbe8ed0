"""Documents of a window into rows: chunk-aligned best fit that loses no token and crosses no document.

A row is T tokens, which are T / C chunks.  A piece of a document stands inside one chunk, or begins at a chunk's
boundary.  So a piece of n chunks and a rest occupies n whole chunks and the begin of another one, whose remainder
shorter pieces may fill.

1. Documents longer than T are cut into pieces of T and a rest.
2. Pieces shorter than a chunk go, longest first, where they leave least room (best fit decreasing: Johnson, 1973): into
   the remainders, or into a chunk of their own.
3. Where that leaves more room than ``fill`` allows, the emptiest chunks are dissolved: what is in them goes elsewhere,
   and is cut only where it fits nowhere whole.  No more chunks than are needed, so few documents are cut.
4. Runs of chunks go into rows, longest first, each where it fits; one is cut at a boundary where none fits.  All rows
   of a window but the last are full.

Everything follows from the lengths alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from trainer.errors import DataError


class Piece(NamedTuple):
    """Tokens ``[start, start + length)`` of a document of the window."""

    document: int
    start: int
    length: int


class Placed(NamedTuple):
    """Where pieces stand, sorted by row and place: arrays of one length, and the number of rows."""

    row: np.ndarray
    place: np.ndarray
    document: np.ndarray
    start: np.ndarray
    length: np.ndarray
    rows: int


@dataclass
class _Chunk:
    """A chunk that several pieces share; ``body``: what of the first piece's document fills whole chunks before it."""

    room: int
    pieces: list[Piece] = field(default_factory=list)
    body: Piece | None = None


def pack(lengths: np.ndarray, tokens: int, chunk: int | None = None, fill: float = 0.995) -> Placed:
    """Place the documents of a window.

    Args:
        lengths: tokens of each document.
        tokens: T, of a row.
        chunk: C; None where rows have no chunks.
        fill: share of the chunks' tokens at which no more documents are cut (1: as full as can be).
    """
    chunk = chunk or tokens
    if tokens < 1 or chunk < 1 or tokens % chunk:
        raise DataError(f"rows of {tokens} tokens cannot be cut into chunks of {chunk}")
    bodies, chunks, small = _cut(lengths, tokens, chunk)
    rooms = _Rooms(chunks, chunk)
    for piece in sorted(small, key=lambda piece: (-piece.length, piece)):
        rooms.add(piece)
    bodies, chunks = _dissolve(bodies, rooms, chunk, fill)
    return _table(_rows(bodies, chunks, tokens // chunk, chunk), chunk)


def _cut(lengths: np.ndarray, tokens: int, chunk: int) -> tuple[list[Piece], list[_Chunk], list[Piece]]:
    """Pieces of whole chunks only; begun chunks with what stands before them; pieces shorter than a chunk."""
    bodies, begun, small = [], [], []
    for document, length in enumerate(lengths.tolist()):
        for start in range(0, length, tokens):
            size = min(tokens, length - start)
            whole = size - size % chunk
            body, rest = Piece(document, start, whole), Piece(document, start + whole, size - whole)
            if not rest.length:
                bodies.append(body)
            elif not whole:
                small.append(rest)
            else:
                begun.append(_Chunk(chunk - rest.length, [rest], body))
    return bodies, begun, small


class _Rooms:
    """Chunks by the room that is left in them; the tightest that holds a piece is found by one look at a bit set."""

    def __init__(self, chunks: list[_Chunk], size: int) -> None:
        self.chunks = chunks
        self._size = size
        self._by_room: list[list[_Chunk]] = [[] for _ in range(size + 1)]
        self._set = 0
        for chunk in chunks:
            self._put(chunk)

    def _put(self, chunk: _Chunk) -> None:
        self._by_room[chunk.room].append(chunk)
        self._set |= 1 << chunk.room

    def _take(self, room: int) -> _Chunk:
        chunk = self._by_room[room].pop()
        if not self._by_room[room]:
            self._set &= ~(1 << room)
        return chunk

    def add(self, piece: Piece, cut: bool = False) -> None:
        """Put a piece where it leaves least room.

        Where it fits nowhere, a new chunk holds it, or, with ``cut``, the roomiest chunk its begin and others the rest.
        """
        while cut and not self._set >> piece.length:
            chunk = self._take(self._set.bit_length() - 1)
            begin, piece = _split(piece, chunk.room)
            self._fill(chunk, begin)
        fitting = self._set >> piece.length
        if fitting:
            self._fill(self._take(piece.length + (fitting & -fitting).bit_length() - 1), piece)
        else:
            self.chunks.append(_Chunk(self._size))
            self._fill(self.chunks[-1], piece)

    def _fill(self, chunk: _Chunk, piece: Piece) -> None:
        chunk.pieces.append(piece)
        chunk.room -= piece.length
        self._put(chunk)


def _dissolve(bodies: list[Piece], rooms: _Rooms, size: int, fill: float) -> tuple[list[Piece], list[_Chunk]]:
    """Make do with as few shared chunks as ``fill`` asks for, over all; what stood before those that went stands alone.

    There is room for all: the chunks that stay hold as many tokens as there are.
    """
    shared = sum(size - each.room for each in rooms.chunks)
    whole = sum(body.length for body in bodies) + sum(each.body.length for each in rooms.chunks if each.body)
    wanted = max(math.ceil((whole + shared) / (fill * size)) - whole // size, -(-shared // size))
    fullest = sorted(rooms.chunks, key=lambda each: each.room)  # stable
    gone, rooms = fullest[wanted:], _Rooms(fullest[:wanted], size)
    for piece in sorted((piece for each in gone for piece in each.pieces), key=lambda piece: (-piece.length, piece)):
        rooms.add(piece, cut=True)
    return bodies + [each.body for each in gone if each.body], rooms.chunks


class _Run(NamedTuple):
    """Chunks that follow each other in a row: whole ones of one document, then perhaps a shared one."""

    body: Piece | None
    shared: list[Piece]
    chunks: int


def _rows(bodies: list[Piece], chunks: list[_Chunk], per_row: int, size: int) -> list[list[_Run]]:
    """Runs of chunks into rows of ``per_row`` chunks."""
    by_chunks: list[list[_Run]] = [[] for _ in range(per_row + 1)]
    for body in bodies:
        by_chunks[body.length // size].append(_Run(body, [], body.length // size))
    for chunk in chunks:
        count = (chunk.body.length // size if chunk.body else 0) + 1
        by_chunks[count].append(_Run(chunk.body, chunk.pieces, count))
    rows: list[list[_Run]] = []
    left, largest = sum(map(len, by_chunks)), per_row
    while left:
        row, room = [], per_row
        while room and left:
            while largest and not by_chunks[largest]:
                largest -= 1
            fitting = next((n for n in range(min(room, largest), 0, -1) if by_chunks[n]), None)
            run = by_chunks[fitting or largest].pop()
            if fitting is None:
                run, rest = _halves(run, room, size)
                by_chunks[rest.chunks].append(rest)
            else:
                left -= 1
            row.append(run)
            room -= run.chunks
        rows.append(row)
    return rows


def _halves(run: _Run, chunks: int, size: int) -> tuple[_Run, _Run]:
    """Cut a run behind some whole chunks."""
    assert run.body is not None
    first, rest = _split(run.body, chunks * size)
    return _Run(first, [], chunks), _Run(rest if rest.length else None, run.shared, run.chunks - chunks)


def _split(piece: Piece, length: int) -> tuple[Piece, Piece]:
    """The first tokens of a piece, and the others."""
    document, start, whole = piece
    return Piece(document, start, length), Piece(document, start + length, whole - length)


def _table(rows: list[list[_Run]], size: int) -> Placed:
    """Rows of runs as arrays.  A whole part and its rest, where they stand together, are one piece again."""
    found: list[tuple[int, int, int, int, int]] = []
    for number, row in enumerate(rows):
        place = 0
        for run in row:
            shared, at = list(run.shared), place + (run.body.length if run.body else 0)
            if run.body is not None:
                body = run.body
                if shared and shared[0].document == body.document and shared[0].start == body.start + body.length:
                    rest = shared.pop(0)
                    body, at = body._replace(length=body.length + rest.length), at + rest.length
                found.append((number, place, *body))
            for piece in shared:
                found.append((number, at, *piece))
                at += piece.length
            place += run.chunks * size
    rows_at, places, documents, starts, lengths = np.array(found, np.int64).reshape(-1, 5).T
    return Placed(rows_at, places, documents, starts, lengths, len(rows))
