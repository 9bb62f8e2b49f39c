"""hand/encoder.py, hand/steps.py and train_hands.py: vectors by which hands are told apart."""


from conftest import make_line
from handwriting import train_hands
from handwriting.files import UserError
from handwriting.hand import encoder
from handwriting.hand.encoder import LAYERS, encode_data, look, read_encoder
from handwriting.hand.pictures import HEIGHT, MARGIN, UNIT, draw, outline
from handwriting.ink.export import write_line_strokes
from handwriting.network.cells import HAND

import numpy as np
import pytest

PEOPLE, LINES = 4, 8


def lines_of(person, number=LINES):
    """Lines [n, 3] of somebody: the same loops, more or less slanted, and lifted more or less."""
    rng, lines = np.random.default_rng(person), []
    size, lift = [(20, 12), (60, 12), (20, 40), (60, 40)][person % 4]
    for _ in range(number):
        time = np.arange(241)
        x = 12 * time - size * np.cos(0.5 * time) + rng.normal(0, 1, 241)
        y = size * np.sin(0.5 * time) + rng.normal(0, 1, 241)
        line = np.zeros([240, 3], np.int16)
        line[:, :2] = np.diff(np.rint(np.stack([x, y], axis=1)), axis=0)
        line[lift - 1 :: lift, 2] = 1
        line[-1, 2] = 1
        lines.append(line)
    return lines


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder of encoders that learnt to tell four people apart, and what was told."""
    folder = tmp_path_factory.mktemp("hands")
    lines = [line for person in range(PEOPLE) for line in lines_of(person)]
    people = [f"s00-{k // LINES:03d}" for k in range(len(lines))]
    write_line_strokes(lines, str(folder / "lineStrokes-all.tar.gz"), ["loops here"] * 32, people)
    changes = {"BATCH": 8, "EVERY": 20, "KNOWN": 3, "ROUNDS": 2, "WARMUP": 5}
    changes["WIDTH"] = {"pictures": (128, 128), "strokes": (256, 256)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in changes.items():
            patch.setattr(train_hands, name, value)
        patch.setattr(encoder, "MOMENTUM", 0.8)
        flags = ["--data_dir", str(folder), "--model_dir", str(folder / "to"), "--num_steps", "60"]
        train_hands.main(flags)
    return folder / "to", lines


@pytest.mark.parametrize("kind", LAYERS)
def test_encoders_learn_whose_hand_a_line_is_in(trained, kind):
    folder, _ = trained
    network = read_encoder(kind, folder)
    seen = [look(kind, line) for person in range(PEOPLE) for line in lines_of(person + 4)]
    found = network.encode(seen)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    people = [list(range(LINES * k, LINES * (k + 1))) for k in range(PEOPLE)]
    right = train_hands.identify(found, people, known=3)
    assert right > {"pictures": 0.5, "strokes": 0.9}[kind]  # by chance 0.25
    alone = network.encode(seen[:1])
    np.testing.assert_allclose(alone[0], found[0], atol=1e-5)  # whatever else is in the batch


def test_an_encoder_that_is_missing_is_told(tmp_path):
    with pytest.raises(UserError, match=r"pictures.safetensors is missing; python -m handwriting"):
        read_encoder("pictures", tmp_path)


def test_encoders_are_not_written_over(trained, capsys):
    with pytest.raises(SystemExit):
        train_hands.main(["--model_dir", str(trained[0])])
    assert "holds encoders; name another folder, or give --overwrite" in capsys.readouterr().err


def test_vectors_of_data_are_computed_once(trained, tmp_path, monkeypatch):
    folder, lines = trained
    monkeypatch.setattr(encoder, "FOLDER", folder)
    monkeypatch.setattr(encoder, "MANY", 1000)
    monkeypatch.setattr(encoder, "run", lambda call, jobs: [call(*job) for job in jobs])
    calls = []

    def encode_lines(part):
        calls.append(len(part))
        return np.stack([np.full(HAND, line[3, 0]) for line in part])

    monkeypatch.setattr(encoder, "encode_lines", encode_lines)
    first = encode_data(str(tmp_path), lines[:5])
    again = encode_data(str(tmp_path), lines[:5])
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first[:, 0], [line[3, 0] for line in lines[:5]])
    assert sum(calls) == 5
    assert len(encode_data(str(tmp_path), lines[:4])) == 4 and sum(calls) == 9


def test_pictures_and_steps_do_not_tell_size_slope_and_place():
    line = make_line(200, np.random.default_rng(2)).astype(float)
    changed = 3 * line
    changed[:, 2] = line[:, 2]
    changed[0, :2] += 500
    for kind in LAYERS:
        one, other = look(kind, line), look(kind, changed)
        assert one.shape == other.shape and np.abs(one - other).mean() < 0.01
    picture = draw(outline(line))
    assert picture.shape[0] == HEIGHT and picture.min() >= 0 and picture.max() == 1
    assert not picture[:, : MARGIN - 3].any()
    rows = np.average(np.arange(HEIGHT), weights=picture.sum(axis=1))
    assert rows == pytest.approx(HEIGHT / 2, abs=1)
    deviation = np.sqrt(np.average((np.arange(HEIGHT) - rows) ** 2, weights=picture.sum(axis=1)))
    assert deviation == pytest.approx(UNIT, rel=0.1)
