"""handwriting/text/spelling.py: what is written of a text, and what cannot be."""

import string

from handwriting.files import UserError
from handwriting.text.spelling import (
    GAP,
    GLYPHS,
    TABLES,
    check_text,
    leave_gaps,
    name_unknown,
    plain,
    plain_note,
    split,
)

import pytest

ASCII = "".join(sorted(string.digits + string.ascii_letters + string.punctuation + " "))
# ruff: noqa: RUF001, letters of all kinds are the subject
SENTENCES = {
    "Albanian": "Unë mund të ha qelq dhe nuk më gjen gjë, çudi!",
    "Basque": "Kristala jan dezaket, ez dit minik ematen; ñabardura.",
    "Catalan": "Això és l'aigua: col·legi, pingüí, plaça, camió, où? ŀ",
    "Croatian": "Gojazni đačić s biciklom drži hmelj i finu vatu u džepu, Šešelj.",
    "Czech": "Příliš žluťoučký kůň úpěl ďábelské ódy, Ďáblice, Ťuhýk, Ňadra.",
    "Danish": "Høj bly gom vandt fræk sexquiz på wc, Ærø og Århus.",
    "Dutch": "Pa's wĳze lynx bezag vroom het fikse aquaduct: één coöperatie, ruïne.",
    "Estonian": "Põdur Zagrebi tšellomängija-följetonist Ciqo külmetas žürii, Šoti.",
    "Faroese": "Ðað er óført at skriva á føroyskum, ýtin ævintýr.",
    "Finnish": "Törkylempijävongahdus, Åbo, šakki ja džonkki.",
    "French": "Dès Noël, où un zéphyr haï me vêt de glaçons würmiens, l'œuf; «ÿ», ça!",
    "Galician": "O niño da curuxa está na árbore, ¿non si? ¡Así é!",
    "German": "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich, STRAẞE; 5 €.",
    "Hungarian": "Árvíztűrő tükörfúrógép, Őszi ŰRHAJÓ.",
    "Icelandic": "Kæmi ný öxi hér, ykist þjófum nú bæði víl og ádrepa. Þórður",
    "Irish": "D'fhuascail Íosa Úrmhac na hÓighe Beannaithe pór Éava agus Ádhaimh, ḃ.",
    "Italian": "Perché così? È già là, più virtù; 3ª volta, n.º 5.",
    "Latvian": "Glāžšķūņa rūķīši dzērumā čiepj Baha koncertflīģeļu vākus, Ģirts, Ķīna, ģ.",
    "Lithuanian": "Įlinkdama fechtuotojo špaga sublykčiojusi pragręžė apvalų arbūzą, ėjo ų, ū.",
    "Luxembourgish": "Zwéi Fräen hëllefen der Mënsch, d'Äerd ass schéin.",
    "Maltese": "Ġgant ħażin jgħid: Għawdex, Ħaż-Żebbuġ, ċavetta.",
    "Northern Sami": "Gosa Áŋŋel, čáppa đákŋa, š, ŧ, ž; Ŋ Ŧ Đ.",
    "Norwegian": "Vår sære Zulu fra badeøya spilte jo whist og quickstep; Ål, òg, fór.",
    "Polish": "Zażółć gęślą jaźń, ŁÓDŹ, Ćma, Święty, Żółw, Ńa, Ąę.",
    "Portuguese": "À noite, vovô Kowalsky vê o ímã cair no pé do pinguim; ação, põe, ü.",
    "Romanian": "Muzicologă în bej vând whisky și tequila, preț fix; ŞŢşţ, Înălțime, Â.",
    "Romansh": "Co èsi? Tge è quai, ùn giavisch.",
    "Slovak": "Kŕdeľ šťastných ďatľov učí pri ústí Váhu mĺkveho koňa, Ľubľana, ô, ä, Ŕ.",
    "Slovenian": "Hišničin bratec vzgaja polže pod fikusom, čudež, Šport, Žaba.",
    "Spanish": "El pingüino Wenceslao hizo kilómetros; ¿qué niño? ¡Sí! Ñandú, Úbeda.",
    "Swedish": "Flygande bäckasiner söka hwila på mjuka tuvor; Ängelholm, Åre, Örebro.",
    "Turkish": "Pijamalı hasta yağız şoföre çabucak güvendi. İstanbul, Iğdır, Ölüdeniz, hâlâ.",
    "Vietnamese": "Đặng Thị Hồng: phở bò, ngũ cốc, ế ữ ợ ẵ Ờ Ứ ẽ ỷ, ỉ, kỳ lạ, Ổn.",
    "Welsh": "Parciais fy jac codi baw hud llawn dŵr ger tŷ Mabon, ẁ, ŵ, ŷ, â.",
    "signs": "£5, 20 °C ± 2, 3 × 4 ÷ 2, § 7, 10 m², 5 µm, ¥9, © 2026, 6¢, ª º ¿ ¡ « »",
}


@pytest.mark.parametrize("language", SENTENCES)
@pytest.mark.parametrize("alphabet", [ASCII, string.ascii_letters + string.digits + " ,.;:!?'-"])
def test_every_letter_of_europe_can_be_written(language, alphabet):
    text = plain(SENTENCES[language], alphabet)
    assert name_unknown([text], alphabet, "it") == ""
    spelling = split(text, alphabet)
    assert set(spelling.base) <= set(alphabet) and "  " not in spelling.base
    drawn = [(place, item) for _, items in spelling.glyphs for place, item in items if item != " "]
    assert [text[place] for place, _ in drawn] == [item for _, item in drawn]
    assert all(item in GLYPHS for _, item in drawn)
    assert all(name in TABLES["marks"] for _, names in spelling.marks for name in names)
    marked = {place for place, _ in spelling.marks}
    for place, c in enumerate(text):  # nothing is lost
        base = spelling.places[place]
        is_drawn = place in dict(drawn) or place in marked
        assert is_drawn or c == " " or (base is not None and spelling.base[base] == c)


def test_letters_have_their_marks_and_glyphs_stand_between_words():
    spelling = split("ế ď ǿ ģ ị", ASCII)
    assert spelling.base == "e d o g i"
    assert spelling.marks == [
        (0, ["circumflex", "acute"]), (2, ["caron aside"]), (4, ["slash", "acute"]),
        (6, ["comma above"]), (8, ["dot below"]),
    ]  # fmt: skip
    assert split("e\u0323\u0302", ASCII).marks == [(0, ["dot below", "circumflex"])]
    spelling = split("Straße 5 €", ASCII)
    assert spelling.base == "Stra e 5" and spelling.places == [0, 1, 2, 3, 4, 5, 6, 7, None, None]
    assert spelling.glyphs == [(1, [(4, "ß")]), (3, [(8, " "), (9, "€")])]
    assert split("§ 5", ASCII).glyphs == [(0, [(0, "§"), (1, " ")])]
    assert split("€", ASCII)[:2] == ("", [None])
    assert split(f"a {GAP} b", ASCII).glyphs == [(1, [(1, " "), (2, GAP), (3, " ")])]


def test_what_a_network_has_learnt_it_writes():
    for alphabet in (ASCII + "üß", ASCII + "ßü"):
        assert split("süß", alphabet) == ("süß", [0, 1, 2], [], [])
    assert plain("\u201eja\u201c", ASCII + "\u201e") == '\u201eja"'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\u201eA\u201c \u2018b\u2019 \u2013 \u2014\u2026", "\"A\" 'b' - -..."),
        ("a\u00a0b\u2009c\u3000d\te", "a b c d e"),
        ("\ufb01n \uff21\uff11 \u0133 \u017f", "fin A1 ij s"),
        ("so\u00adft\u200b\u2060\ufe0f", "soft"),
        ("\u00bd 2\u00bd", "1/2 2 1/2"),
        ("e\u0301", "\u00e9"),
        ("H\u2082O 10\u2074 x\u207f", "H2O 10\u2074 x\u207f"),  # no power becomes another number
    ],
)
def test_typographic_characters_are_written_as_what_they_stand_for(text, expected):
    assert plain(text, ASCII) == expected


def test_one_note_tells_of_typographic_characters():
    assert plain_note("caf\u00e9 5 \u20ac \u0416\t", ASCII) == ""
    assert plain_note("\u201cc\u2026\u00a0\u200b", ASCII) == (
        'Writing typographic characters as plain ones: \u201c as "; \u2026 as ...; U+00A0 as a '
        "space; U+200B as nothing"
    )


def test_what_cannot_be_written_is_named_once_with_its_places():
    lines = ["ok \u20ac", "  \u0416a\u0416", "", "\U0001f600\x07\u0416\u0416"]
    assert name_unknown(lines, ASCII, "a.txt") == (
        "a.txt has characters that cannot be written: \u0416 (line 2, place 3; line 2, place 5; "
        "line 4, place 3; 1 more), \U0001f600 (line 4, place 1), U+0007 (line 4, place 2)"
    )
    many = "".join(map(chr, range(0x410, 0x430)))
    assert name_unknown([many], ASCII, "it").endswith("\u0423 (place 20), 12 others")
    with pytest.raises(UserError, match=r"^this network writes no text;"):
        name_unknown(["a"], "", "it")


@pytest.mark.parametrize(
    ("text", "words"),
    [(" ", "--text is empty"), ("b{", "--text has .*: { .place 2.; the network has learnt abc$")],
)
def test_a_text_that_cannot_be_written_is_refused(text, words):
    with pytest.raises(UserError, match=words):
        check_text(text, " abc", "--text")
    check_text("c\u00e4b", " abc", "--text")


def test_gaps_are_left_for_the_rest():
    assert leave_gaps("a \u0416\u0416 \u00e9\U0001f600b", ASCII) == f"a {GAP} \u00e9{GAP}b"
