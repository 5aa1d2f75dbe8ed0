"""The rules a second time, in plain Python and regular expressions, as slow and as literal as possible.

What is shared with the package is the table of character classes and the list of special cases; both are held
against known values in ``test_words``.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache

from curation.text import charclass
from curation.text.special_cases import special_cases

UNITS = (
    "km km² km³ m m² m³ dm dm² dm³ cm cm² cm³ mm mm² mm³ ha µm nm yd in ft kg g mg µg t lb oz m/s km/h kmh mph hPa "
    "Pa mbar mb MB kb KB gb GB tb TB T G M K % км км² км³ м м² м³ дм дм² дм³ см см² см³ мм мм² мм³ нм кг г мг м/с "
    "км/ч кПа Па мбар Кб КБ кб Мб МБ мб Гб ГБ гб Тб ТБ тбكم كم² كم³ م م² م³ سم سم² سم³ مم مم² مم³ كم غرام جرام جم "
    "كغ ملغ كوب اكواب"
)


@cache
def members(bit: int) -> str:
    """A regular expression's bracket content for all characters of a class."""
    codes = [int(code) for code in (charclass.character_flags() & bit).nonzero()[0]]
    spans: list[list[int]] = []
    for code in codes:
        if spans and spans[-1][1] == code - 1:
            spans[-1][1] = code
        else:
            spans.append([code, code])
    return "".join(f"\\U{a:08x}-\\U{b:08x}" for a, b in spans)


def has(character: str, bit: int) -> bool:
    return bool(charclass.character_flags()[ord(character)] & bit)


@cache
def patterns() -> dict[str, re.Pattern[str]]:
    alpha, lower, upper, quote = (
        members(bit) for bit in (charclass.ALPHA, charclass.LOWER, charclass.UPPER, charclass.QUOTE)
    )
    prefix, suffix, icon = members(charclass.PREFIX), members(charclass.SUFFIX), members(charclass.ICON)
    units = "|".join(map(re.escape, UNITS.split()))
    octet = "(?:1?[0-9]{1,2}|2[0-4][0-9]|25[0-5])"
    first = "(?:[1-9][0-9]?|1[0-9]{2}|2[01][0-9]|22[0-3])"
    last = "(?:[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-4])"
    private = r"(?:10|127)(?:\.[0-9]{1,3}){3}|(?:169\.254|192\.168|172\.(?:1[6-9]|2[0-9]|3[01]))(?:\.[0-9]{1,3}){2}"
    host = "A-Za-z0-9\u00a1-\uffff"
    return {
        "prefix": re.compile(rf"(?:[{prefix}]|\+(?![0-9])|\.\.+|US\$|[AC]\$)"),
        "suffix": re.compile(
            rf"(?:……|[{suffix}]|\.\.+|['’][sS]|(?<=[0-9])\+|(?<=°[FCK])\.|(?<=[0-9])(?:US\$|[AC]\$)"
            rf"|(?<=[0-9])[{members(charclass.CURRENCY)}]|(?<=[0-9])(?:{units})"
            rf"|(?<=[{members(charclass.BEFORE_STOP)}])\.|(?<=[{upper}][{upper}])\.)$"
        ),
        "infix": re.compile(
            rf"\.\.+|…|[{icon}]|(?<=[0-9])[+\-*^](?=[0-9-])|(?<=[{lower}{quote}])\.(?=[{upper}{quote}])"
            rf"|(?<=[{alpha}]),(?=[{alpha}])|(?<=[{alpha}0-9])(?:-|–|—|--|---|——|~)(?=[{alpha}])"
            rf"|(?<=[{alpha}0-9])[:<>=/](?=[{alpha}])"
        ),
        "address": re.compile(
            rf"(?:[\w+\-.]{{2,}}://)?(?:\S+@)?(?:(?!{private}){first}(?:\.{octet}){{2}}\.{last}"
            rf"|(?:(?:[{host}][{host}_-]{{0,62}})?[{host}]\.)+[{lower}]{{2,63}})(?::[0-9]{{2,5}})?(?:[/?#]\S*)?$"
        ),
    }


def cut(chunk: str, cases: dict[str, tuple[str, ...]]) -> list[str]:
    """Words of a chunk without white space, English rules."""
    rules = patterns()
    front: list[str] = []
    back: list[str] = []
    while chunk and chunk not in cases:
        match = rules["prefix"].match(chunk)
        prefix = match.end() if match else 0
        if prefix and chunk[prefix:] in cases:
            front.append(chunk[:prefix])
            chunk = chunk[prefix:]
            break
        match = rules["suffix"].search(chunk[prefix:])
        suffix = len(match.group()) if match else 0
        if suffix and chunk[:-suffix] in cases:
            back.insert(0, chunk[-suffix:])
            chunk = chunk[:-suffix]
            break
        if not prefix and not suffix:
            break
        if prefix:
            front.append(chunk[:prefix])
        if suffix:
            back.insert(0, chunk[-suffix:])
        chunk = chunk[prefix : len(chunk) - suffix]
    if not chunk:
        return front + back
    if chunk in cases:
        middle = list(cases[chunk])
    elif rules["address"].match(chunk):
        middle = [chunk]
    else:
        middle, start = [], 0
        for match in rules["infix"].finditer(chunk):
            if match.start() > 0:
                middle += [piece for piece in (chunk[start : match.start()], match.group()) if piece]
                start = match.end()
        middle += [chunk[start:]] if chunk[start:] else []
    return front + middle + back


def pieces(chunk: str, language: str) -> list[str]:
    """A chunk in the runs that ``cut`` sees; characters of scripts without spaces and wide punctuation alone."""
    if language == "en":
        return [chunk]
    solo = members(charclass.UNSPACED)
    wide = members(charclass.WIDE)
    return re.findall(rf"[{solo}][{members(charclass.MARK)}]*|[{wide}]|[^{solo}{wide}]+", chunk)


def tokens(text: str, language: str = "en") -> list[str]:
    """All words of a text; white space other than one blank between words is a word."""
    found: list[tuple[str, bool]] = []  # word, and whether one blank is in front of it
    after_blank = False
    for run in re.findall(r"\s+|\S+", text):
        if run.isspace():
            if found and run[0] == " " and not found[-1][0].isspace():
                after_blank = run == " "
                run = run[1:]
            if run:
                found.append((run, False))
            continue
        words = [word for piece in pieces(run, language) for word in cut(piece, special_cases())]
        found += [(word, after_blank and place == 0) for place, word in enumerate(words)]
        after_blank = False
    return join(found)


@cache
def joins() -> dict[tuple[str, ...], str]:
    """Words that the general rules make of special cases, and the case."""
    split = {case: tuple(cut(case, {})) for case in special_cases()}
    return {words: case for case, words in split.items() if len(words) > 1}


def join(found: list[tuple[str, bool]]) -> list[str]:
    """Put words together that spell a special case; the longest first, then the leftmost."""
    words = [word for word, _ in found]
    spans = [
        (first, size)
        for size in range(max(map(len, joins())), 1, -1)
        for first in range(len(words) - size + 1)
        if tuple(words[first : first + size]) in joins()
    ]
    taken: set[int] = set()
    chosen = {}
    for first, size in spans:
        if first not in taken and first + size - 1 not in taken:
            chosen[first] = size
        taken |= set(range(first, first + size))
    result: list[str] = []
    i = 0
    while i < len(words):
        size = chosen.get(i, 1)
        blank_inside = any(blank for _, blank in found[i + 1 : i + size])
        if size == 1 or blank_inside:
            result.append(words[i])
            i += 1
        else:
            result += special_cases()[joins()[tuple(words[i : i + size])]]
            i += size
    return result


def words(text: str, language: str = "en") -> list[str]:
    return [word for word in tokens(text, language) if not word.isspace()]


def sentences(text: str, language: str = "en") -> int:
    count, ended = 1, False
    for word in tokens(text, language):
        end = len(word) == 1 and has(word, charclass.SENTENCE)
        if ended and not end and not all(has(c, charclass.PUNCTUATION) for c in word):
            count, ended = count + 1, False
        elif end:
            ended = True
    return count


def is_unspaced(word: str, language: str) -> bool:
    return language != "en" and has(word[0], charclass.UNSPACED)


def script(found: list[str], language: str) -> int:
    letters = sum(any(c.isalpha() for c in word) for word in found)
    unspaced = [word for word in found if is_unspaced(word, language)]
    ideograms = sum(has(word[0], charclass.IDEOGRAM) for word in unspaced)
    if 2 * len(unspaced) <= letters:
        return 0
    return 1 if 2 * ideograms >= len(unspaced) else 2


def ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def gopher_quality(text: str, language: str, stop_words: dict[str, tuple[str, ...]]) -> dict[str, float | None]:
    found = words(text, language)
    plain = [word for word in found if not all(has(c, charclass.SYMBOL) for c in word)]
    lines = text.splitlines()
    kind = script(found, language)
    listed = language in stop_words and not (language == "und" and kind)
    return {
        "word_count": len(plain),
        "mean_word_length": ratio(sum(map(len, plain)), len(plain)) if kind == 0 else None,
        "hash_word_ratio": ratio(text.count("#"), len(found)),
        "ellipsis_word_ratio": ratio(text.count("...") + text.count("…"), len(found)),
        "bullet_line_ratio": ratio(sum(line.lstrip().startswith(("•", "-")) for line in lines), len(lines)),
        "ellipsis_line_ratio": ratio(sum(line.rstrip().endswith(("...", "…")) for line in lines), len(lines)),
        "alphabetic_word_ratio": ratio(sum(any(c.isalpha() for c in word) for word in found), len(found)),
        "stop_word_count": len(set(found) & set(stop_words[language])) if listed else None,
    }


def repeated(items: Iterable[str]) -> tuple[int, int, int]:
    """How many there are, how many were there before, and the characters of these."""
    seen: set[str] = set()
    count = again = characters = 0
    for item in items:
        count += 1
        if item in seen:
            again += 1
            characters += len(item)
        seen.add(item)
    return count, again, characters


def top_characters(found: list[str], n: int, language: str) -> int | None:
    grams = [tuple(found[i : i + n]) for i in range(len(found) - n + 1)]
    if not grams:
        return None
    gram, count = Counter(grams).most_common(1)[0]
    spaced = [not is_unspaced(word, language) for word in gram]
    blanks = sum(a and b for a, b in itertools.pairwise(spaced))
    return (sum(map(len, gram)) + blanks) * count


def repeated_characters(found: list[str], n: int) -> int:
    seen: set[str] = set()
    i = characters = 0
    while i <= len(found) - n:
        gram = "".join(found[i : i + n])
        if gram in seen:
            characters += len(gram)
            i += n
        else:
            seen.add(gram)
            i += 1
    return characters


def gopher_repetition(text: str, language: str) -> dict[str, float | None]:
    lines = repeated(re.split(r"\n+", text))
    paragraphs = repeated(re.split(r"\n{2,}", text.strip()))
    found = words(text, language)
    orders = (
        dict(zip(range(2, 11), range(2, 11), strict=True)),
        {2: 3, 3: 5, 4: 6, 5: 8, 6: 10, 7: 11, 8: 13, 9: 14, 10: 16},
        {n: 3 * n for n in range(2, 11)},
    )[script(found, language)]
    measures: dict[str, float | None] = {
        "character_count": len(text),
        "duplicate_line_ratio": ratio(lines[1], lines[0]),
        "duplicate_paragraph_ratio": ratio(paragraphs[1], paragraphs[0]),
        "duplicate_line_char_ratio": ratio(lines[2], len(text)),
        "duplicate_paragraph_char_ratio": ratio(paragraphs[2], len(text)),
    }
    for n in (2, 3, 4):
        top = top_characters(found, orders[n], language)
        measures[f"top_{n}gram_char_ratio"] = None if top is None else ratio(top, len(text))
    for n in range(5, 11):
        measures[f"duplicate_{n}gram_char_ratio"] = ratio(repeated_characters(found, orders[n]), len(text))
    return measures


def fineweb(text: str, language: str, short: int) -> dict[str, float | None]:
    lines = [line for line in text.split("\n") if line.strip()]
    ends = charclass.TERMINAL | (charclass.CLOSING if language != "en" else 0)
    return {
        "nonblank_line_count": len(lines),
        "line_punctuation_ratio": ratio(sum(has(line[-1], ends) for line in lines), len(lines)),
        "short_line_ratio": ratio(sum(len(line) <= short for line in lines), len(lines)),
        "line_duplicate_char_ratio": ratio(repeated(lines)[2], len(text.replace("\n", ""))),
        "newline_word_ratio": ratio(text.count("\n"), len(words(text, language))),
    }


def line_words(line: str, language: str) -> list[str]:
    if language == "en":
        return line.split()
    solo, wide = members(charclass.UNSPACED), members(charclass.WIDE)
    return re.findall(rf"[{solo}]|[^\s{solo}{wide}]+", line)


def c4(text: str, language: str, min_words: int, marks_needed: bool = True) -> tuple[dict[str, int], str]:
    """Counts of lines, and the text that is left."""
    policy = ["terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies"]
    if language != "en":
        policy += ["隐私政策", "隱私政策", "隱私權政策", "使用条款", "使用條款", "服务条款", "服務條款"]
    count: Counter[str] = Counter()
    kept = []
    for line, reason in _lines(text, language, min_words, marks_needed):
        lowered = line.lower()
        count["c4_line_count"] += 1
        if reason:
            count[reason] += 1
            continue
        count["c4_lorem_ipsum_line_count"] += "lorem ipsum" in lowered
        if "javascript" in lowered:
            count["c4_javascript_line_count"] += 1
            continue
        count["c4_curly_bracket_line_count"] += "{" in line
        if any(phrase in lowered for phrase in policy):
            count["c4_policy_line_count"] += 1
            continue
        count["c4_kept_line_count"] += 1
        count["c4_sentence_count"] += sentences(line, language)
        kept.append(line)
    return dict(count), "\n".join(kept).strip()


def _lines(text: str, language: str, min_words: int, marks_needed: bool) -> Iterator[tuple[str, str]]:
    """Each line without citations, and why it goes, if for its ending or its words."""
    for raw in text.splitlines():
        line = raw.strip()
        found = line_words(line, language)
        uncited = re.sub(r"\[\d*]|\[edit]|\[citation needed]", "", line)
        finished = uncited.endswith((".", "?", "!", '"', "'")) or (
            language != "en" and uncited != "" and has(uncited[-1], charclass.TERMINAL | charclass.CLOSING)
        )
        if any(len(word) > 1000 and not is_unspaced(word, language) for word in found):
            yield uncited, "c4_long_word_line_count"
        elif marks_needed and (not finished or uncited.endswith("...")):
            yield uncited, "c4_unfinished_line_count"
        elif len(found) < min_words:
            yield uncited, "c4_few_word_line_count"
        else:
            yield (uncited if marks_needed else uncited.rstrip()), ""
