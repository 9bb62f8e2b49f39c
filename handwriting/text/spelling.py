"""How any text is spelt with the characters that a network has learnt.

Typographic characters stand for plain ones (`plain`). A letter with marks is its base letter, which
the network writes, and the marks, which marks.py draws; a glyph is drawn whole, in a gap that the
network leaves. All of them are in marks.json; a character that the network has learnt needs none.
"""

import itertools
import json
import re
import unicodedata
from pathlib import Path
from typing import NamedTuple

from handwriting.files import UserError
from handwriting.flags import one_line

TABLES = json.loads(Path(__file__).with_name("marks.json").read_text(encoding="utf-8"))
COMBINING, LETTERS, GLYPHS = (TABLES[name] for name in ("combining", "letters", "glyphs"))
# Whose compatibility form would say something else: raised letters and signs.
RAISED = re.compile("[\u02b0-\u02b8\u02e0-\u02e4\u1d2c-\u1d6a\u2070-\u207f]")
GAP = "\u2003"  # stands for what cannot be written, and is left free
NAMED, PLACES = 20, 3  # characters that a message names, and places of each, at most


class Spelling(NamedTuple):
    """What the network writes of a text, and what is added to it."""

    base: str  # what the network writes
    places: list  # of each character of the text: its place in base, or None
    marks: list  # pairs: the place of a letter in the text, the names of its marks
    # Pairs: how many words of base stand before it, the items from there to the next word: pairs of
    # the place in the text and the glyph, " ", or GAP.
    glyphs: list


def compose(c, alphabet):
    """The base letter, which is in the alphabet, and the names of the marks of a character that is
    not; None if it is none of these."""
    letter, *others = LETTERS.get(c) or unicodedata.normalize("NFD", c)
    if c not in LETTERS and not all(mark in COMBINING for mark in others):
        return None
    marks = others if c in LETTERS else [COMBINING[mark] for mark in others]
    if letter in alphabet:
        return letter, marks
    inner = compose(letter, alphabet) if marks and letter in LETTERS else None
    return inner and (inner[0], inner[1] + marks)


def can_write(c, alphabet):
    """Whether a character is written by the network or drawn."""
    known = c in alphabet or c in GLYPHS or c in COMBINING or c == GAP
    return known or compose(c, alphabet) is not None


def plain_character(c, alphabet):
    """What a character stands for, a str: itself, where it can be written or nothing is known."""
    if can_write(c, alphabet):
        return c
    if c.isspace() or unicodedata.category(c)[0] == "Z":
        return " "
    if unicodedata.category(c) == "Cf" or "\ufe00" <= c <= "\ufe0f":
        return ""
    if c in TABLES["plain"]:
        return TABLES["plain"][c]
    form = unicodedata.normalize("NFKC", c)
    if form == c or RAISED.match(c):
        return c
    return "".join(plain_character(part, alphabet) for part in form)


def plain(text, alphabet):
    """The text with plain characters in place of typographic ones: quotes, dashes, spaces,
    ligatures, full-width forms, invisible ones; 2 1/2 for 2\u00bd."""
    parts = []
    for c in unicodedata.normalize("NFC", text):
        form = plain_character(c, alphabet)
        fraction = len(form) > 2 and "/" in form and parts and parts[-1][-1:].isdigit()
        parts.append(f" {form}" if fraction else form)
    return "".join(parts)


def plain_note(text, alphabet):
    """What tells which typographic characters of a text are written as what, or an empty str."""
    pairs = [(c, plain(c, alphabet)) for c in dict.fromkeys(text) if not can_write(c, alphabet)]
    names = {"": "nothing", " ": "a space"}
    shown = [
        f"{visible(c)} as {names.get(form, form)}"
        for c, form in pairs
        if form != unicodedata.normalize("NFC", c) and c not in "\t\r\n"
    ]
    return f"Writing typographic characters as plain ones: {'; '.join(shown)}" if shown else ""


def visible(c):
    """A character, or its number where it shows nothing."""
    return f"U+{ord(c):04X}" if unicodedata.category(c)[0] in "CZ" else one_line(c)


def split(text, alphabet):
    """The Spelling of a text. Each run of glyphs and spaces is one space to the network; in it, a
    run of what cannot be written is one gap.
    """
    tokens, marks = [], {}  # (place, kind, character): letter, space or glyph; place -> names
    for place, c in enumerate(text):
        found = (c, []) if c in alphabet else compose(c, alphabet)
        if c in COMBINING and c not in alphabet:
            if tokens and tokens[-1][1] == "letter":
                marks.setdefault(tokens[-1][0], []).append(COMBINING[c])
        elif found:
            tokens.append((place, "space" if c == " " else "letter", found[0]))
            if found[1]:
                marks[place] = found[1]
        else:
            tokens.append((place, "glyph", c if c in GLYPHS else GAP))
    base, places, glyphs, at = "", [None] * len(text), [], 0
    kinds = "".join(kind[0] for _, kind, _ in tokens)
    for run in [*re.finditer("s*g[sg]*", kinds), None]:
        start = run.start() if run else len(tokens)
        for place, _, letter in tokens[at:start]:
            places[place] = len(base)
            base += letter
        if run:
            at, items = run.end(), []
            for place, _, item in tokens[start:at]:
                if item != GAP or not (items and items[-1][1] == GAP):
                    items.append((place, item))
            glyphs.append((len(base.split()), items))
            if base and at < len(tokens):
                places[tokens[start][0]] = len(base)
                base += " "
    return Spelling(base, places, sorted(marks.items()), glyphs)


# ------------------------------------------------------------------------ what cannot be written


def name_unknown(lines, alphabet, where):
    """A sentence, which begins with `where`, that names each character of lines (str each) that
    cannot be written once, with the lines and places where it stands, both from 1; the empty str if
    there is none. An empty alphabet is that of a network without text. Raises UserError.
    """
    if not alphabet:
        raise UserError("this network writes no text; one by train.py --text does")
    unknown = {}
    for number, line in enumerate(lines, 1):
        for place, c in enumerate(line, 1):
            if not all(can_write(part, alphabet) for part in plain_character(c, alphabet)):
                spot = f"line {number}, place {place}" if len(lines) > 1 else f"place {place}"
                unknown.setdefault(c, []).append(spot)
    if not unknown:
        return ""
    named = []
    for c, spots in itertools.islice(unknown.items(), NAMED):
        more = [f"{len(spots) - PLACES} more"] * (len(spots) > PLACES)
        named.append(f"{visible(c)} ({'; '.join(spots[:PLACES] + more)})")
    named += [f"{len(unknown) - NAMED} others"] * (len(unknown) > NAMED)
    return f"{where} has characters that cannot be written: {', '.join(named)}"


def check_text(text, alphabet, where):
    """Raise UserError, which begins with `where`, if a text cannot be written or is empty."""
    if sentence := name_unknown([text], alphabet, where):
        raise UserError(f"{sentence}; the network has learnt {alphabet.strip()}")
    if not plain(text, alphabet).strip():
        raise UserError(f"{where} is empty; give at least one character")


def leave_gaps(text, alphabet):
    """A text that `plain` returned, with GAP for each run of what cannot be written."""
    runs = itertools.groupby(text, lambda c: can_write(c, alphabet))
    return "".join("".join(run) if known else GAP for known, run in runs)
