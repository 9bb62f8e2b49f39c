"""handwriting/measure/characters.py: characters cut out of words, and their classifier."""

import sys
from types import SimpleNamespace

from handwriting.measure import characters
from handwriting.measure.characters import (
    DIRECTIONS,
    GRID,
    cut_character,
    features,
    make_words,
    share_right,
    train_classifier,
)

import numpy as np
import pytest


def split(row):
    """The map [row, column, direction] of features, squared, and what else they tell."""
    maps = row[: GRID * GRID * DIRECTIONS].reshape(GRID, GRID, DIRECTIONS) ** 2
    return maps, row[GRID * GRID * DIRECTIONS :]


def test_features_map_ink_by_place_and_direction():
    bar = np.array([[10.0, 7.0], [50.0, 7.0]])
    maps, more = split(features([bar], 20.0))
    assert maps.sum() == pytest.approx(GRID - 2, rel=1e-5)
    assert maps[..., 0].sum() == pytest.approx(GRID - 2, rel=1e-5)  # to the right
    rows = maps.sum(axis=(1, 2))
    assert rows[4] == rows[5] == pytest.approx((GRID - 2) / 2, rel=1e-5)
    assert more == pytest.approx([1.0, np.log2(0.05), 0.5])
    maps, more = split(features([bar[::-1, ::-1], bar[:1, ::-1]], 20.0))  # upwards, and a dot
    assert maps[..., DIRECTIONS // 2].sum() == pytest.approx(GRID - 2, rel=1e-5)
    assert maps[..., 0].sum() == pytest.approx(1.0, rel=1e-5) and more[2] == 1.0


def test_features_do_not_depend_on_the_unit():
    stroke = np.random.default_rng(0).normal(size=[30, 2]).cumsum(axis=0)
    found = features([stroke], 3.0)
    np.testing.assert_allclose(features([5 * stroke + [9, -4]], 15.0), found, atol=1e-5)


def made_up(character, rng):
    """A wobbling character: a bar, a post or rings of two sizes, in a unit of its own."""
    way = np.linspace(0, 1, 12)[:, None]
    ring = np.hstack([np.cos(6.3 * way), np.sin(6.3 * way)])
    shape = {"-": way * [2, 0], "l": way * [0, 3], "o": ring, "O": 2.2 * ring}[character]
    return [100 * (shape + rng.normal(size=shape.shape) * 0.03)]


def test_a_classifier_learns_shapes_and_sizes(monkeypatch):
    monkeypatch.setattr(characters, "EPOCHS", 40)
    rng = np.random.default_rng(0)
    writers = {
        f"writer {k}": [(c, made_up(c, rng)) for c in "oooo--llOO"] for k in range(30)
    }  # fmt: skip
    writers["without small letters"] = [("l", made_up("-", rng))] * 50  # tells no size: left out
    classify, shares = train_classifier(writers, 1)
    assert shares["strict"] > 0.9 and shares["alike"] >= shares["strict"]
    rows = [features(made_up(c, rng), 200.0) for c in "l-Oo" * 50]
    assert np.mean(np.array(classify(rows)) == list("l-Oo" * 50)) > 0.9


@pytest.mark.parametrize("number", [characters.WRITERS, characters.WRITERS - 1])
def test_isolated_characters_are_read_by_writer(monkeypatch, number):
    """A stand-in for the reader of UNIPEN, whose files hold other things, too."""

    def segment(text, quality="OK"):
        return SimpleNamespace(text=text, quality=quality, strokes=[np.zeros([1, 2])])

    def read_unipen(source):
        for k in range(number):
            ink = [segment("a"), segment("bad", "OK"), segment(" "), segment("b", "BAD")]
            yield source, "1c", SimpleNamespace(writer=f"{k}", segments=ink)
            yield source, "7", SimpleNamespace(writer=f"{k}", segments=[segment("c")])

    unipen = SimpleNamespace(find_unipen=lambda folder: [folder], read_unipen=read_unipen)
    monkeypatch.setitem(sys.modules, "handwriting.ink.unipen", unipen)
    found = characters.read_characters("unipen")
    names = [f"unipen {k}" for k in range(number)] if number == characters.WRITERS else []
    assert list(found) == names
    assert all([text for text, _ in own] == ["a"] for own in found.values())


def test_share_right_counts_look_alikes_beside():
    rows = share_right("oooox", ["o", "0", "a", "a", "x"])
    assert rows == {"o": [4, 0.25, 0.5, "a"], "x": [1, 1.0, 1.0, ""]}
    assert characters.mean_shares(rows) == {"strict": 0.625, "alike": 0.75}


def test_a_character_is_cut_where_the_window_looked():
    """Ten points at each of three characters: a stroke over two, a dot of the first drawn late."""
    strokes = np.ones([34, 3])
    strokes[:, 2] = 0
    strokes[[19, 29, 33], 2] = 1
    place = np.repeat([0, 1, 2, 0], [10, 10, 10, 4])
    place = np.append(place[characters.LAG :], [0] * characters.LAG)  # it runs ahead
    line = SimpleNamespace(text="abc", strokes=strokes, window=np.eye(3)[place])
    cut = [[stroke[:, 0].tolist() for stroke in cut_character(line, k)] for k in range(3)]
    numbers = list(range(1, 35))
    assert cut == [[numbers[:10], numbers[30:]], [numbers[10:20]], [numbers[20:30]]]
    assert cut_character(line, 3) == []


def test_words_hold_each_character_within_small_letters():
    words = make_words("abcdefghijklmnopqrstuvwxyz ?A", np.random.default_rng(0))
    assert len(words) == 28 * characters.DRAWN
    assert {word[place] for word, place in words} == set("abcdefghijklmnopqrstuvwxyz?A")
    for word, place in words:
        rest = word[:place] + word[place + 1 :]
        assert rest.isalpha() and rest.islower() and 0 < place < len(rest)


def test_characters_of_a_network_are_read_as_the_classifier_does(monkeypatch):
    """The network draws every character as a post, and the classifier says `l` to all."""
    post = np.array([[0, 0, 0], *[[0, 9, 0]] * 9, [0, 9, 1]])
    said = {"strict": 0.5, "alike": 0.6}
    monkeypatch.setattr(characters, "DRAWN", 3)
    monkeypatch.setattr(characters, "train_classifier", lambda *_: (lambda r: ["l"] * len(r), said))

    def write_lines(model, sess, texts, bias, style, one_hand):
        for text in texts:
            window = np.eye(len(text))[np.arange(11 * len(text)) // 11]
            yield SimpleNamespace(text=text, strokes=np.tile(post, [len(text), 1]), window=window)

    monkeypatch.setattr(characters, "write_lines", write_lines)
    model = SimpleNamespace(alphabet="acehilmnorstuw|?")
    found = characters.measure_characters(model, {}, 0)
    assert found["characters"]["l"] == [3, 1.0, 1.0, ""]
    assert found["characters"]["|"] == [3, 0.0, 1.0, "l"] and found["real"] == said
    assert found["strict"] == pytest.approx(1 / 16) and found["alike"] == pytest.approx(2 / 16)
