"""English strings that are not split, or not split where the general rules would: contractions, abbreviations,
hours and emoticons.  The inventory is that of spaCy 3.8's English tokenizer, written here as the patterns that
generate it, so that word counts agree with tools that use it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

Parts = tuple[str, ...]

_WOULD_WILL = (("'ll",), ("'ll", "'ve"), ("'d",), ("'d", "'ve"))
_NOT = (("n't",),)
_NOT_HAVE = (("n't",), ("n't", "'ve"))
_IS, _ARE, _HAVE, _AM = (("'s",),), (("'re",),), (("'ve",),), (("'m",), ("'m", "a"))

# Words and what may be attached to them, with or without its apostrophe, in lower or title case.
_CONTRACTIONS: tuple[tuple[str, tuple[Parts, ...]], ...] = (
    ("i", _AM),
    ("i you he she it we they", _WOULD_WILL),
    ("i you we they", _HAVE),
    ("you we they", _ARE),
    ("he she it", _IS),
    ("who what when where why how there that this these those", _WOULD_WILL),
    ("who what when where why how there that this", _IS),
    ("who what when where why how there these those", _ARE + _HAVE),
    ("ca could do does did had may might must need ought sha should wo would", _NOT_HAVE),
    ("could might must should would", _HAVE),
    ("ai are is was were have has dare", _NOT),
)
# Words of their own that the patterns above would make.
_WORDS = "ill its hell shell shed were well whore"

_SPLIT = (
    "y'|all y|all how|'d|'y How|'d|'y not|'ve not|ve Not|'ve Not|ve can|not Can|not gon|na Gon|na got|ta Got|ta "
    "let|'s Let|'s c'm|on C'm|on"
)
_DROPPED_G = "doin goin nothin nuthin ol somethin lovin havin"
_WHOLE = (
    "em ll nuff 'em 'll 'nuff 'S 's ‘S ‘s 're 'd and/or w/o 'Cause 'cause 'cos 'Cos 'coz 'Coz 'cuz 'Cuz 'bout "
    "ma'am Ma'am o'clock O'clock "
    "Mt. Ak. Ala. Apr. Ariz. Ark. Aug. Calif. Colo. Conn. Dec. Del. Feb. Fla. Ga. Ia. Id. Ill. Ind. Jan. Jul. "
    "Jun. Kan. Kans. Ky. La. Mar. Mass. Mich. Minn. Miss. N.C. N.D. N.H. N.J. N.M. N.Y. Neb. Nebr. Nev. Nov. "
    "Oct. Okla. Ore. Pa. S.C. Sep. Sept. Tenn. Va. Wash. Wis. a.m. Adm. Bros. co. Co. Corp. D.C. Dr. e.g. E.g. "
    "E.G. Gen. Gov. i.e. I.e. I.E. Inc. Jr. Ltd. Md. Messrs. Mo. Mont. Mr. Mrs. Ms. p.m. Ph.D. Prof. Rep. Rev. "
    "Sen. St. vs. v.s. "
    "\\t \\n — ' '' \\\") <space> C++ ä. ö. ü."
)
_EMOTICONS = (
    ":) :-) :)) :-)) :))) :-))) (: (-: =) (= :] :-] [: [-: [= =] :o) (o: :} :-} 8) 8-) (-8 ;) ;-) (; (-; :( :-( "
    ":(( :-(( :((( :-((( ): )-: =( >:( :') :'-) :'( :'-( :/ :-/ =/ =| :| :-| ]= =[ :1 :P :-P :p :-p :O :-O :o "
    ":-o :0 :-0 :() >:o :* :-* :3 :-3 =3 :> :-> :X :-X :x :-x :D :-D ;D ;-D =D xD XD xDD XDD 8D 8-D ^_^ ^__^ "
    "^___^ >.< >.> <.< ._. ;_; -_- -__- v.v V.V v_v V_V o_o O_O o_O O_o 0_o o_0 0_0 o.O O.o O.O o.o 0.0 o.0 0.o "
    "@_@ <3 <33 <333 </3 (^_^) (-_-) (._.) (>_<) (*_*) (¬_¬) ಠ_ಠ ಠ︵ಠ (ಠ_ಠ) ¯\\(ツ)/¯ (╯°□°）╯︵┻━┻ ><(((*>"
)


def _contractions() -> Iterator[Parts]:
    excluded = {form for word in _WORDS.split() for form in (word, word.title())}
    for words, endings in _CONTRACTIONS:
        for word in words.split():
            for form in (word, word.title()):
                for ending in endings:
                    yield (form, *ending)
                    bare = tuple(part.replace("'", "") for part in ending)
                    if form + "".join(bare) not in excluded:
                        yield (form, *bare)


def _cases() -> Iterable[Parts]:
    yield from _contractions()
    for case in _SPLIT.split():
        yield tuple(case.split("|"))
    for word in _DROPPED_G.split():
        for form in (word, word.title()):
            yield from ((form,), (form + "'",))
    for letter in "abcdefghijklmnopqrstuvwxyz":
        yield (letter + ".",)
    for hour in range(1, 13):
        for period in ("a.m.", "am", "p.m.", "pm"):
            yield (str(hour), period)
    for unit in "cfkCFK":
        yield ("°", unit, ".")
    for whole in (*_WHOLE.split(), *_EMOTICONS.split()):
        yield (whole,)


@cache
def special_cases() -> dict[str, Parts]:
    """Strings and the tokens that each one becomes, typographic apostrophes included."""
    cases = {"".join(parts): parts for parts in _cases()}
    for parts in list(cases.values()):
        curly = tuple(part.replace("'", "’") for part in parts)
        cases.setdefault("".join(curly), curly)
    return cases
