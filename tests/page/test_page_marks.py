"""handwriting/page/spell.js, glyphs.js and accents.js: equal to those of handwriting/text/."""

from handwriting.text.marks import add_marks
from handwriting.text.spelling import GAP, can_write, leave_gaps, plain, split
from letters import ALPHABET, draw_letters

import numpy as np
from in_node import make_network, make_reader, node

# ruff: noqa: RUF001, letters of all kinds are the subject
TEXTS = [
    "nín ßé€, §", "noßnd on", "€§", f"no {GAP} on{GAP}no", "Łódą źloć, ế ồ ắợĩ", "Ærø Ålå ďaťľ ģķņ",
    "İıgğ şţęọ đħ m² ¿né? «o»", "ll·la c\u0308\u0301e",
]  # fmt: skip
SPELT = [
    *TEXTS, "„A“ ‘b’ –…", "a\u00a0b\u2009c\u3000d\te", "ﬁn Ａ１ ĳ ſ",
    "so\u00adft\u200b\u2060\ufe0f", "½ 2½", "e\u0301", "H₂O 10⁴ xⁿ", "ЖaЖ \u0001", "oǿĄ ŉ",
]  # fmt: skip


def test_texts_are_spelt_alike():
    found = node(
        """
        return given.texts.map((text) => {
          const {base, places, marks, glyphs} = spelling.split(text, given.alphabet);
          const written = spelling.plain(text, given.alphabet);
          const gaps = spelling.leaveGaps(written, given.alphabet);
          const unknown = spelling.unknownIn(text, given.alphabet);
          return [written, gaps, [base, places, marks, glyphs], unknown];
        });
        """,
        texts=SPELT,
        alphabet=ALPHABET,
    )
    for text, (written, gaps, spelling, unknown) in zip(SPELT, found, strict=True):
        assert written == plain(text, ALPHABET)
        assert gaps == leave_gaps(written, ALPHABET)
        base, places, marks, glyphs = split(text, ALPHABET)
        pairs = [[count, [list(item) for item in items]] for count, items in glyphs]
        assert spelling == [base, places, [list(mark) for mark in marks], pairs]
        parts = {c: plain(c, ALPHABET) for c in dict.fromkeys(text)}
        assert unknown == [
            c for c, form in parts.items() if not all(can_write(p, ALPHABET) for p in form)
        ]
    note = node(
        "return spelling.plainNote(given.text, 'a');", text="\u201ca\u2026\u00a0\u200b\u0416"
    )
    assert note == (
        'Typographic characters are plain ones: \u201c as ", \u2026 as ..., U+00A0 as a space, '
        "U+200B as nothing."
    )


def test_marks_and_glyphs_are_drawn_alike():
    rng = np.random.default_rng(0)
    numbers = rng.random(5000).tolist()
    lines = []
    for text in TEXTS:
        for joined in (False, True):
            base = split(text, ALPHABET).base or "on"
            lines.append((text, draw_letters(base, joined=joined)))
    found = node(
        """
        return given.lines.map(({text, base, points, windows}) => {
          let at = 0;
          const line = {text: base, points, windows}, spelt = spelling.split(text, given.alphabet);
          const drawn = marks.addMarks(line, text, spelt, () => given.numbers[at++]);
          return [drawn.points, drawn.windows.map((phi) => [...phi])];
        });
        """,
        numbers=numbers,
        alphabet=ALPHABET,
        lines=[
            {"text": text, "base": line.text, "points": line.strokes.tolist(),
             "windows": line.window.tolist()}
            for text, line in lines
        ],
    )  # fmt: skip
    for (text, line), (points, windows) in zip(lines, found, strict=True):
        spelling = split(text, ALPHABET)
        ours = add_marks(line, text, spelling, iter(numbers).__next__)
        assert len(points) == len(ours.strokes)
        np.testing.assert_allclose(points, ours.strokes, atol=0.05)
        np.testing.assert_allclose(windows, ours.window, atol=1e-5)


def test_a_page_writes_texts_with_marks_and_their_densities():
    _, weights = make_network(layer_norm=True, skip=True, polar=True, alphabet=" efinostuvwx")
    drawn = node(
        """
        const model = new engine.Model(engine.readTensors(given.weights));
        const reader = new reading.Reader(engine.readTensors(given.reader));
        const write = (text) => [...lines.writeLines(
          model, reader, new engine.Noise(1), [text], 0.5, null)].find(Boolean);
        return given.texts.map((given) => {
          const line = write(given), means = line.zHats.map((zHat, k) => {
            const m = engine.mixture(zHat, 0.5, model.logSigmaMin), [x, y] = line.moves[k];
            const mean = [x + m.mu1[0] * model.dataScale, y + m.mu2[0] * model.dataScale];
            return [...mean, m.eos, m.pi[0]];
          });
          const windows = line.windows.map((phi) => [...phi]);
          const {text, points} = line, strokes = line.placed.strokes.flat().length;
          return {text, points, means, windows, strokes};
        });
        """,
        weights=weights,
        reader=make_reader()[1],
        texts=["tw\u00f6 one", "\u20ac", f"s\u00efx{GAP}on \u00a7"],
    )
    for line in drawn:
        count = len(line["points"])
        assert len(line["means"]) == len(line["windows"]) == line["strokes"] == count
        windows, means, points = (np.array(line[k]) for k in ("windows", "means", "points"))
        assert windows.shape == (count, len(line["text"]))
        added = windows.max(axis=1) == 1
        assert added.any()
        np.testing.assert_allclose(means[added, :2], points[added, :2], atol=0.01)
        np.testing.assert_allclose(means[added, 2], points[added, 2], atol=0.01)
        assert (means[added, 3] > 0.99).all()
