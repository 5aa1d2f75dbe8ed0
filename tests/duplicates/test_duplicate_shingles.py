"""The compiled shingles against a loop over characters."""

from __future__ import annotations

import unicodedata

import numpy as np
import pyarrow as pa
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import oracle
from curation.duplicates import folding, kernel
from curation.duplicates.jaccard import count_pairs
from curation.duplicates.shingles import shingle_sets
from curation.duplicates.signature import signatures
from curation.errors import InputError

_UNSPACED = regex.compile("[" + "".join(rf"\p{{Script={name}}}" for name in folding.UNSPACED) + "]")
_POINTS = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]


def naive_words(text: str) -> list[str]:
    """Words by the definition: one character at a time, categories of ``unicodedata``, scripts of ``regex``."""
    words, run = [], ""
    for character in unicodedata.normalize("NFKC", text).casefold() + " ":
        category = unicodedata.category(character)
        alone = category[0] in "LMN" and _UNSPACED.match(character) is not None
        if not alone and (category[0] in "LM" or category == "Nd"):
            run += character
            continue
        if run:
            words.append(run)
        run = ""
        if alone:
            words.append(character)
    return words


def naive_shingles(text: str) -> set[tuple[str, ...]]:
    words = naive_words(text)
    if not words:
        return {("", unicodedata.normalize("NFKC", text).casefold().strip())}
    return {tuple(words[start : start + 5]) for start in range(max(1, len(words) - 4))}


def check(texts: list[str]) -> None:
    """Sizes, intersections, word counts and text hashes of all pairs agree with the naive twin."""
    column = pa.array(texts, pa.large_string())
    sets, sketches = shingle_sets(column), signatures(column, num_perm=1)
    naive = [naive_shingles(text) for text in texts]
    assert sets.sizes.tolist() == [len(shingles) for shingles in naive]
    left, right = (side.ravel() for side in np.indices((len(texts), len(texts))))
    common, union = count_pairs(sets, left, right)
    pairs = list(zip(left.tolist(), right.tolist(), strict=True))
    assert common.tolist() == [len(naive[a] & naive[b]) for a, b in pairs]
    assert union.tolist() == [len(naive[a] | naive[b]) for a, b in pairs]
    words = [naive_words(text) for text in texts]
    assert sketches.words.tolist() == [len(found) for found in words]
    keys = [tuple(found) or naive_shingles(text) for found, text in zip(words, texts, strict=True)]
    hashes = [tuple(pair) for pair in sketches.text_hash.tolist()]
    assert [hashes[a] == hashes[b] for a, b in pairs] == [keys[a] == keys[b] for a, b in pairs]


def test_table_of_every_code_point() -> None:
    tables = folding.tables()
    for code in _POINTS:
        character, entry = chr(code), int(tables.entries[code])
        category = unicodedata.category(character)
        if category in ("Cn", "Co"):
            assert entry == 0
            continue
        folded = unicodedata.normalize("NFKC", character).casefold()
        if code < 128:
            assert tables.ascii[code] == (ord(folded) if character.isalnum() else 0)
        elif entry & folding.MAPPED:
            start = int(tables.starts[code])
            assert "".join(map(chr, tables.folded[start + 2 : start + 2 + tables.folded[start]])) == folded
        else:
            assert folded == character
            alone = category[0] in "LMN" and _UNSPACED.match(character) is not None
            assert bool(entry & folding.SOLO) == alone
            assert bool(entry & folding.WORD) == (not alone and (category[0] in "LM" or category == "Nd"))


def test_alone_every_code_point_is_what_it_is_inside() -> None:
    """Each code point between letters, through the kernel: the same words as the naive twin finds."""
    codes = [code for code in _POINTS if unicodedata.category(chr(code)) not in ("Cn", "Co", "Lo")]
    codes += list(range(0x1100, 0x1200)) + list(range(0x3131, 0x3190)) + list(range(0xF900, 0xFB00))
    texts = [f"a{chr(code)}b {chr(code)}" for code in codes]
    counts = signatures(pa.array(texts, pa.large_string()), num_perm=1).words
    assert counts.tolist() == [len(naive_words(text)) for text in texts]


def test_marks_in_any_order_and_every_composite() -> None:
    """One mark of each combining class before one of each; every character that has parts beside its parts."""
    by_class = {unicodedata.combining(chr(code)): chr(code) for code in _POINTS if unicodedata.combining(chr(code))}
    spelled = [f"q{one}{other}" for one in by_class.values() for other in by_class.values()]
    spelled += [unicodedata.normalize("NFD", chr(code)) for code in _POINTS if unicodedata.decomposition(chr(code))]
    spelled += [f"x{chr(code)}\u0301" for code in _POINTS if unicodedata.decomposition(chr(code))]
    composed = [unicodedata.normalize("NFKC", text) for text in spelled]
    hashes = [signatures(pa.array(texts, pa.large_string()), num_perm=1).text_hash for texts in (spelled, composed)]
    assert [text for text, same in zip(spelled, (hashes[0] == hashes[1]).all(axis=1), strict=True) if not same] == []
    different = len({tuple(naive_words(text)) or naive_shingles(text).pop() for text in composed})
    assert len(np.unique(hashes[1], axis=0)) == different


_ALPHABETS = [
    "ab c.",
    "aA \u00e9\u00c9e\u0301\u0327 ß ſ \ufb01 \u212b \u00c5 Ⅷ ½ ² ١٢ \u00ad\u200d_-'’",
    "\uff41\uff21\u212b\ufb01 \u0301\u030a\u0323",
    "漢字かなカナ\uff76\uff9e\uff8a\uff9f\uff70 ー々〇〡㍿㌖か\u3099\u309a は a",
    "ไทย เก้าอี้ ลาว ລາວ ខ្មែរ မြန်မာ \u1025\u102e ၁ a",
    "हिन्दी क\u093c ड\u093c \u09c7\u09be \u0b47\u0b57 தமிழ் a",
    "العربية مُحَمَّد \u064b\u064c\u064d \u0653ا \u0654 ﷺ لا \u05d0\u05b0\u05b1\u05bc\ufb2a a",
    "각 \u1100\u1161\u11a8 \uac00\u11a8 \u1112 ᆨ \uffa1 a",
    "\u0301\u0323\u0307\u0345\u0344\u0f73 a\u0302 α \u1fb3 q\u0323\u0307 𝐀 𝟙 🂡 😀 \U000e0100",
]
_TEXT = st.one_of(
    *(st.text(st.sampled_from(alphabet), max_size=40) for alphabet in _ALPHABETS),
    st.text(st.sampled_from("".join(_ALPHABETS)), max_size=60),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.lists(st.sampled_from(["Alpha", "beta", "γ", "naïve", "nai\u0308ve", "東", "京", "1", ","]), max_size=25).map(
        " ".join
    ),
)


@settings(max_examples=250, deadline=None)
@given(st.lists(_TEXT, min_size=1, max_size=6))
def test_sets_equal_those_of_a_naive_loop(texts: list[str]) -> None:
    """With other spellings of the same texts, which must be equal to them."""
    check([*texts, *(unicodedata.normalize(form, text) for text in texts[:3] for form in ("NFD", "NFKD", "NFKC"))])


@settings(max_examples=15, deadline=None)
@given(st.lists(_TEXT, min_size=2, max_size=4), st.integers(200, 260))
def test_long_texts_cross_the_blocks_of_the_kernel(parts: list[str], repeats: int) -> None:
    texts = [" ".join(f"{part} {number}" for number in range(repeats)) for part in parts]
    check([*texts, texts[0] + " tail"])


@pytest.mark.parametrize("words", [1, 4, 5, 6, *range(kernel.BLOCK + 20, kernel.BLOCK + 40), 2 * kernel.BLOCK + 60])
def test_number_of_shingles_around_the_size_of_a_block(words: int) -> None:
    check([" ".join(f"w{number}" for number in range(words)), " ".join(f"w{number}" for number in range(1, words))])


def test_a_doubtful_character_behind_whole_blocks() -> None:
    """What was read of a text before it is put into NFKC leaves nothing behind."""
    start = " ".join(f"w{number}" for number in range(3000))
    check([start + " e\u0301", start + " é"])
    twice = signatures(pa.array([start + " e\u0301", start + " é"]))
    assert (twice.minima[0] == twice.minima[1]).all()


def test_hand_counted() -> None:
    text = pa.array(
        ["One, two; THREE four five six!", "one two three four", "東京 tower", "", None, "  ?! ", "?!", "!?"]
    )
    assert shingle_sets(text).sizes.tolist() == [2, 1, 1, 1, 1, 1, 1, 1]
    sketches = signatures(text)
    assert sketches.words.tolist() == [6, 4, 3, 0, 0, 0, 0, 0]
    hashes = [tuple(pair) for pair in sketches.text_hash.tolist()]
    assert hashes[3] == hashes[4] and hashes[5] == hashes[6] and len(set(hashes)) == 6


def test_hostile_marks_end_soon_and_are_ordered() -> None:
    """A run of marks in the worst order; put into order one by one, it would take hours."""
    hostile = "x" + "\u0301\u0323" * 300_000 + " end"
    column = pa.array([hostile, "x" + "\u0323" * 300_000 + "\u0301" * 300_000 + " end"], pa.large_string())
    hashes = signatures(column, num_perm=1).text_hash
    assert (hashes[0] == hashes[1]).all()
    medium = "q" + "\u0345\u0301\u0323\u0f71\u0f74\u0344" * 40 + "é" + "\u0327\u0316" * 50
    assert folding.normalised(medium) == unicodedata.normalize("NFKC", medium).casefold()


def test_invalid_utf8_stays_within_its_text() -> None:
    data = b"abc \xf0\x9f" + b"def \xe2" + b"\xff\xfe ghi" + b"\xc3"
    offsets = np.array([0, 6, 11, 17, 18], np.int32)
    buffers = [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(data)]
    column = pa.Array.from_buffers(pa.string(), 4, buffers).slice(0, 3)
    assert signatures(column).words.tolist() == [1, 1, 1]


def test_slices_and_types_of_columns() -> None:
    column = pa.array(["skipped", "one two three four five six", "e\u0301 two", "last"])
    whole = shingle_sets(column)
    part = shingle_sets(column.slice(1, 2))
    assert part[0].tolist() == whole[1].tolist() and part[1].tolist() == whole[2].tolist()
    assert len(shingle_sets(pa.array([], pa.large_string()))) == 0
    taken = whole.take(np.array([3, 1, 1]))
    assert [taken[row].tolist() for row in range(3)] == [whole[row].tolist() for row in (3, 1, 1)]


def test_values_are_sorted_and_unique_even_when_leading_bits_are_shared() -> None:
    generator = np.random.default_rng(5)
    for size in (0, 1, 2, 100, 5000):
        for values in (generator.integers(0, 2**63, size), generator.integers(0, 1 << 40, size), np.zeros(size)):
            mixed = values.astype(np.uint64)
            expected = np.unique(mixed)
            kept = kernel.sort_unique(mixed, np.empty(size, np.uint64))
            assert mixed[:kept].tolist() == expected.tolist()


def test_unknown_definition() -> None:
    with pytest.raises(InputError, match="word-5gram/1"):
        shingle_sets(pa.array(["a"]), "word-6gram/1")


def test_the_oracle_defines_the_same_words() -> None:
    for text in ["".join(_ALPHABETS), *_ALPHABETS, "a b", "", "?"]:
        assert oracle.words(text) == naive_words(text)
        assert oracle.shingles(text) == naive_shingles(text)
