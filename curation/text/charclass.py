"""Character classes: one bit set for every code point.

Sources:
    Unicode properties come from the interpreter's own tables (``unicodedata``), so they agree with ``str``.
    The classes named after affixes and infixes describe where spaCy 3.8 splits English tokens
    (https://spacy.io/usage/linguistic-features#how-tokenizer-works); ``SYMBOL`` and ``TERMINAL`` are the
    punctuation sets of datatrove 0.10.1.
"""

from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np

from curation.duplicates.folding import UNSPACED as UNSPACED_SCRIPTS

SPACE = 1 << 0  # str.isspace
LETTER = 1 << 1  # str.isalpha
SYMBOL = 1 << 2  # a word of nothing but these is no word for Gopher's counts
TERMINAL = 1 << 3  # may end a sentence, in any script
SENTENCE = 1 << 4  # as a token of its own, ends a sentence for spaCy's sentencizer
PUNCTUATION = 1 << 5  # general category P
ALPHA = 1 << 6  # letter as spaCy's infix rules see it
LOWER = 1 << 7  # of these, lower case or caseless
UPPER = 1 << 8  # of these, upper case or caseless
QUOTE = 1 << 9  # quotation mark or bracket that allows a full stop between two words to split
PREFIX = 1 << 10  # splits off in front
SUFFIX = 1 << 11  # splits off behind
ICON = 1 << 12  # symbol that splits off anywhere (category So)
BEFORE_STOP = 1 << 13  # a full stop splits off behind one of these
CURRENCY = 1 << 14
AFFIX = 1 << 15  # a chunk without any of these is one token
HOST = 1 << 16  # may start or end a label of a host name
WORD = 1 << 17  # \w
IDEOGRAM = 1 << 18  # letter or number of Han, Hiragana, Katakana: words have one or two of them
SYLLABLE = 1 << 19  # letter of Thai, Lao, Khmer, Myanmar: words have about three of them
WIDE = 1 << 20  # East Asian punctuation: ends a word in text without spaces
MARK = 1 << 21  # general category M
UNIT = 1 << 22  # letter, mark or decimal digit
DIGIT = 1 << 23  # 0 to 9
DECIMAL = 1 << 24  # \d: general category Nd
SOLO = 1 << 26  # letter, mark or number of a script without spaces: a unit of its own
CLOSING = 1 << 25  # may end a line of prose in languages other than English, beside TERMINAL

UNSPACED = IDEOGRAM | SYLLABLE

_CODE_POINTS = 0x110000
_SCANNED = 0x20000  # beyond it there are only ideographs, tags and variation selectors

_WIDE = "3001-3004 3008-3020 3030 3036-3037 303D-303F 30A0 30FB FE10-FE19 FE30-FE6F FF01-FF0F FF1A-FF20 FF3B-FF40"
_WIDE += " FF5B-FF65 FFE0-FFEE"

# spaCy's letters: scripts with case (further restricted by category below) and without.
_CASED = (
    "0041-005A 0061-007A 00C0-00D6 00D8-00F6 00F8-01BF 01C4-02AF 0386 0388-038A 038C 038E-038F 0391-03A9 "
    "03AC-03AF 03B1-03C9 03CC-03CE 0400-0401 0403-040A 040C-040D 0410-0451 0453-045A 045C-045D 0490-0491 "
    "0496-0497 04A2-04A3 04AE-04AF 04BA-04BB 04D8-04D9 04E8-04E9 1D00-1D25 1D6B-1D77 1D79-1D9A 1E00-1EFF "
    "2C60-2C7B 2C7E-2C7F A722-A76F A771-A787 A78B-A78E A790-A7B9 A7FA AB30-AB5A AB60-AB64 FF21-FF3A FF41-FF5A"
)
_CASELESS = (
    "0591-05F4 0620-064A 066E-06D5 06E5-06FF 0750-077F 08A0-08BD 0900-09FF 0B80-0CFF 0D80-0DFF 1100-137F "
    "2E80-2FDF 2FF0-30FF 31C0-31EF 3200-4DBF 4E00-9FFF AC00-D7AF F900-FAFF FB1D-FBB1 FBD3-FD3D FD50-FDC7 "
    "FDF0-FDFB FE30-FE4F FE70-FEFC 1EE00-1EEBB 1F200-1F2FF 20000-2A6DF 2A700-2EBEF 2F800-2FA1F"
)
# Symbols (So) that spaCy's list does not hold, most of them newer than Unicode 11.
_NOT_ICONS = (
    "166D 2B97 2BC9 2BFF 2E50-2E51 32FF FD40-FD4F FDCF FDFE-FDFF 1019C 11FD5-11FDC 11FE1-11FF1 1CF50-1CFC3 "
    "1D1E9-1D1EA 1E14F 1ED2E 1F10D-1F10F 1F16C-1F16F 1F1AD 1F6D5-1F6D7 1F6DC-1F6DF 1F6FA-1F6FC 1F774-1F77F "
    "1F7D9-1F7F0 1F8B0-1F8B1 1F90C-1F90F 1F93F 1F971-1F972 1F977-1F979 1F97B 1F9A3-1F9AF 1F9BA-1F9BF "
    "1F9C3-1F9CF 1FA00-1FA53 1FA6E-1FAFF 1FB00-1FBCA"
)
_QUOTES = "0022 0027 002C 0060 00AB 00B4 00BB 2018-201A 201C-201E 2329-232A 27E6-27E7 3008-3011 3014-3015 FF08-FF09"
_SPLITTING = (
    "0021 0023 0026 0028-002A 002C 003A-003C 003E-003F 005B 005D 005F 007B 007D 00A1 00B7 00BF 060C 061B 061F "
    "066A 06D4 0964 2026 3001-3002 FF01 FF0C FF1A-FF1B FF1F FF5E"
)
_CURRENCIES = "0024 00A3 00A5 0E3F 20A0-20BF FDFC"

_SYMBOLS = (
    "0000-0008 000B-001F 0021-002F 003A-0040 005B-0060 007B-009F 00AB 00B4 00BB 2013-2014 2019 201C-201E 2026 "
    "2236 2501 25BA 3001-3002 3008-300D 3010-3011 FF01 FF05 FF08-FF09 FF0C FF0E FF11 FF1A-FF1B FF1F FF5E"
)
# Sentence terminals of all scripts.  The second list is unknown to spaCy's sentencizer.
_SENTENCE_ENDS = (
    "0021 002E 003F 0589 061F 06D4 0700-0702 07F9 0964-0965 104A-104B 1362 1367-1368 166E 1735-1736 1803 1809 "
    "1944-1945 1AA8-1AAB 1B5A-1B5B 1B5E-1B5F 1C3B-1C3C 1C7E-1C7F 203C-203D 2047-2049 2E2E 2E3C 3002 A4FF "
    "A60E-A60F A6F3 A6F7 A876-A877 A8CE-A8CF A92F A9C8-A9C9 AA5D-AA5F AAF0-AAF1 ABEB FE52 FE56-FE57 FF01 FF0E "
    "FF1F FF61 10A56-10A57 11047-11048 110BE-110C1 11141-11143 111C5-111C6 111CD 111DE-111DF 11238-11239 "
    "1123B-1123C 112A9 1144B-1144C 115C2-115C3 115C9-115D7 11641-11642 1173C-1173E 11A42-11A43 11A9B-11A9C "
    "11C41-11C42 16A6E-16A6F 16AF5 16B37-16B38 16B44 1BC9F 1DA88"
)
_MORE_TERMINALS = (
    "061D-061E 0837 0839 083D-083E 17D4-17D6 17D9-17DA 1B7D-1B7E 2E53-2E54 10F55-10F59 10F86-10F89 11944 11946 "
    "11EF7-11EF8 11F43-11F44 16E98"
)
_CLOSINGS = "0022 0027 00BB 2019 201C-201D 2026 300D 300F FE42 FE44 FF1B FF02 FF07"


def _ranges(text: str) -> np.ndarray:
    """``bool[0x110000]`` of hexadecimal code points and ranges separated by blanks."""
    mask = np.zeros(_CODE_POINTS, bool)
    for item in text.split():
        first, _, last = item.partition("-")
        mask[int(first, 16) : int(last or first, 16) + 1] = True
    return mask


def _categories() -> np.ndarray:
    """General category of every code point below ``_SCANNED`` as two letters."""
    return np.array([unicodedata.category(chr(code)) for code in range(_SCANNED)])


def _category(categories: np.ndarray, prefix: str) -> np.ndarray:
    mask = np.zeros(_CODE_POINTS, bool)
    mask[:_SCANNED] = np.char.startswith(categories, prefix)
    return mask


@cache
def character_flags() -> np.ndarray:
    """``uint32[0x110000]``: the classes of every code point, as the bits named in this module."""
    categories = _categories()
    characters = np.arange(_CODE_POINTS, dtype=np.uint32).view("U1")
    letter = np.strings.isalpha(characters)
    ascii_digit = _ranges("0030-0039")
    decimal = np.strings.isdecimal(characters)
    mark = _category(categories, "M") | _ranges("E0100-E01EF")
    cased, caseless = _ranges(_CASED), _ranges(_CASELESS)
    lower = caseless | (cased & _category(categories, "Ll")) | _ranges("0294")
    upper = caseless | (cased & _category(categories, "Lu"))
    icon = _category(categories, "So") & ~_ranges(_NOT_ICONS)
    quote, currency = _ranges(_QUOTES), _ranges(_CURRENCIES)
    splitting = _ranges(_SPLITTING)
    prefix = splitting | quote | icon | currency | _ranges("00A7 0025 003D 2013-2014")
    suffix = splitting | quote | icon | _ranges("2013-2014")
    number = _category(categories, "N")
    scripts = {name: _ranges(ranges) for name, ranges in UNSPACED_SCRIPTS.items()}
    unspaced = np.logical_or.reduce(list(scripts.values()))
    ideogram = (scripts["Han"] | scripts["Hiragana"] | scripts["Katakana"]) & (letter | number)
    syllable = unspaced & letter & ~ideogram
    members = {
        SPACE: np.strings.isspace(characters),
        LETTER: letter,
        SYMBOL: _ranges(_SYMBOLS) | _ranges(_SENTENCE_ENDS) | _ranges(_MORE_TERMINALS),
        TERMINAL: _ranges(_SENTENCE_ENDS) | _ranges(_MORE_TERMINALS),
        SENTENCE: _ranges(_SENTENCE_ENDS),
        PUNCTUATION: _category(categories, "P"),
        ALPHA: cased | caseless,
        LOWER: lower,
        UPPER: upper,
        QUOTE: quote,
        PREFIX: prefix,
        SUFFIX: suffix,
        ICON: icon,
        BEFORE_STOP: ascii_digit | lower | quote | splitting | _ranges("0025 00B2 002B 002D 007C"),
        CURRENCY: currency,
        AFFIX: prefix | suffix | ascii_digit | _ranges("002A-002F 005E 007E"),
        HOST: ascii_digit | _ranges("0041-005A 0061-007A 00A1-FFFF"),
        WORD: np.strings.isalnum(characters) | _ranges("005F"),
        IDEOGRAM: ideogram,
        SYLLABLE: syllable,
        WIDE: _ranges(_WIDE) & ~ideogram,
        MARK: mark,
        UNIT: letter | mark | decimal,
        SOLO: unspaced & (letter | mark | number),
        DIGIT: ascii_digit,
        DECIMAL: decimal,
        CLOSING: _ranges(_CLOSINGS),
    }
    flags = np.zeros(_CODE_POINTS, np.uint32)
    for bit, mask in members.items():
        flags[mask] |= np.uint32(bit)
    flags.setflags(write=False)
    return flags


def unicode_version() -> str:
    """Version of the Unicode tables that the classes were made from; part of a stage's facts."""
    return unicodedata.unidata_version
