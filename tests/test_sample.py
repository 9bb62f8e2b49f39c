"""sample.py: what it draws and writes, which weights it takes, and what it refuses."""

import json
import math
import re
import shutil
import tarfile
import xml.etree.ElementTree as ET

import sample
import train
from conftest import make_line, run_program
from model import Model, mixture
from train import RunError, read_config
from utils import DataLoader, write_line_strokes

import numpy as np
import pytest
import tensorflow as tf

PICTURES = ["color.svg", "eos_pdf.svg", "multi_color.svg", "normal.svg", "pdf.svg"]
POINTS = np.random.default_rng(0).normal(size=[2, 30, 3]).astype(np.float32)
PNG = b"\x89PNG\r\n\x1a\n"


def main(tiny_run, *flags):
    """What sample.main leaves behind, with the tiny run's weights."""
    return sample.main(["--model_dir", str(tiny_run.folder), *map(str, flags)])


def read_files(folder):
    """The files in a folder: name -> bytes."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder, the current one."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def broken_run(tiny_run, tmp_path):
    """A copy of the tiny run's folder, for a test to change."""
    return shutil.copytree(tiny_run.folder, tmp_path / "run")


# -------------------------------------------------------------------------------------------------- what it draws


def test_command_draws_five_pictures_and_the_density(tiny_run, here, capsys):
    flags = ["--sample_length=150", "--seed=3", "--plot"]
    process = run_program("sample.py", *flags, "--model_dir", tiny_run.folder, cwd=here)
    assert (process.returncode, process.stderr) == (0, "")
    drew = f"Drew 1 x 150 points from {tiny_run.folder} with --seed 3\n"
    assert process.stdout == drew + "Wrote sample.{normal,color,multi_color,eos_pdf,pdf}.svg and sample.density.png\n"
    pictures = read_files(here)
    assert sorted(pictures) == sorted(["sample.density.png", *(f"sample.{kind}" for kind in PICTURES)])
    assert pictures.pop("sample.density.png").startswith(PNG)
    for name, picture in pictures.items():
        marks = [element.tag.rpartition("}")[2] for element in ET.fromstring(picture).iter()]
        assert marks[0] == "svg"
        assert ("ellipse" in marks) == (name == "sample.pdf.svg")
        if name in ("sample.multi_color.svg", "sample.eos_pdf.svg"):
            assert marks.count("path") == 150

    # The same seed draws the same, here as there; another does not.
    main(tiny_run, *flags[:2])
    assert read_files(here) == {**pictures, "sample.density.png": (here / "sample.density.png").read_bytes()}
    main(tiny_run, "--sample_length=150", "--seed=4", "--filename=other")
    assert capsys.readouterr().err == ""
    for kind in PICTURES:
        assert (here / f"other.{kind}").read_bytes() != pictures[f"sample.{kind}"]


def test_unset_seed_is_random_and_told(tiny_run, here, capsys):
    flags = ["--sample_length=20", "--filename=one"]
    main(tiny_run, *flags)
    first, (seed,) = read_files(here), re.findall(r"with --seed (\d+)\n", capsys.readouterr().out)
    main(tiny_run, *flags, "--seed", seed)
    assert read_files(here) == first
    main(tiny_run, *flags)
    assert re.findall(r"with --seed (\d+)\n", capsys.readouterr().out)[1] != seed
    assert read_files(here)["one.normal.svg"] != first["one.normal.svg"]


def test_num_samples_numbers_the_pictures(tiny_run, here, capsys):
    model, sess, strokes, params = main(tiny_run, "--num_samples=10", "--sample_length=20", "--filename=a", "--seed=1")
    pictures = read_files(here)
    assert sorted(pictures) == sorted(f"a-{k:02d}.{kind}" for k in range(1, 11) for kind in PICTURES)
    assert len({pictures[f"a-{k:02d}.normal.svg"] for k in range(1, 11)}) == 10
    assert capsys.readouterr().out.count("Wrote ") == 10
    # What it leaves behind is the first of them.
    all_strokes, all_params = sample.restore(tiny_run.folder).sample_batch(tf.random.Generator.from_seed(1), 20, 10)
    np.testing.assert_array_equal(strokes, all_strokes[0])
    np.testing.assert_array_equal(params.mu1, all_params.mu1[0])
    sample.draw_strokes(strokes, 10, "again.svg")
    assert (here / "again.svg").read_bytes() == pictures["a-01.normal.svg"]
    assert isinstance(model, Model) and isinstance(sess, tf.random.Generator)


def test_scale_factor_is_pen_units_per_unit_of_the_pictures(tiny_run, here):
    def width(name):
        x = re.findall(r"[ML ](-?[\d.]+),", ET.parse(here / name).find(".//{*}path").get("d"))
        return np.ptp(np.array(x, float))

    for factor in (1, 4):
        main(tiny_run, "--sample_length=20", "--seed=1", f"--scale_factor={factor}", f"--filename={factor}")
    assert width("1.normal.svg") == pytest.approx(4 * width("4.normal.svg"), abs=0.05)


def test_line_strokes_are_read_back_as_they_were_drawn(tiny_run, here, capsys):
    file = here / "lineStrokes-all.tar.gz"
    main(tiny_run, "--line_strokes", file, "--num_samples=12", "--sample_length=60", "--seed=2")
    assert f"Wrote {file}\n" in capsys.readouterr().out
    assert list(read_files(here)) == [file.name]
    read = DataLoader(seq_length=20, data_dir=here).raw_data
    drawn, _ = sample.restore(tiny_run.folder).sample_batch(tf.random.Generator.from_seed(2), 60, 12)
    assert len(read) == len(drawn)
    for ours, line in zip(read, drawn, strict=True):
        pen = np.rint(np.cumsum(line[:, :2], axis=0, dtype=float))
        np.testing.assert_array_equal(ours[1:, :2], np.diff(pen, axis=0))
        np.testing.assert_array_equal(ours[:-1, 2], line[:-1, 2])
        assert ours[-1, 2] == 1


def test_bias_draws_less_varied_strokes(tiny_run, here):
    def spread(*flags):
        _, _, _, params = main(tiny_run, "--sample_length=60", "--seed=1", *flags)
        return params.sigma1.mean(), params.pi.max(axis=1).mean(), (here / "sample.normal.svg").read_bytes()

    plain, none, much = spread(), spread("--bias=0"), spread("--bias=2")
    assert plain == none
    assert much[0] < plain[0] / 2 and much[1] > plain[1] and much[2] != plain[2]


@pytest.mark.parametrize("kind", ["xml", "npy"])
def test_style_goes_on_from_a_line_and_shows_both(tiny_run, here, kind):
    line = make_line(40, np.random.default_rng(3))
    line[7, :2] = 900, -20  # training saw no longer move than 500
    if kind == "xml":
        write_line_strokes([line], here / "a.tar.gz")
        with tarfile.open(here / "a.tar.gz") as tar:
            (here / "a.xml").write_bytes(tar.extractfile(tar.next()).read())
    else:
        np.save(here / "a.npy", line)
    _, _, strokes, params = main(tiny_run, f"--style=a.{kind}", "--sample_length=30", "--seed=1")
    assert strokes.shape == (70, 3) and params.pi.shape == (70, 2)
    np.testing.assert_allclose(strokes[1:40], line[1:].clip(-500, 500), atol=1e-4)
    grey, black = ET.parse(here / "sample.normal.svg").findall(".//{*}path")
    assert (grey.get("stroke"), black.get("stroke")) == ("darkgrey", "black")
    for path, start, end in ((grey, 0, 39), (black, 40, 69)):
        drawn = re.findall(r"-?[\d.]+", path.get("d"))
        pen = strokes[:, :2].cumsum(axis=0) / 10
        np.testing.assert_allclose(np.array([drawn[:2], drawn[-2:]], float), pen[[start, end]], atol=0.01)

    assert black.get("d").count("M") == strokes[39:69, 2].sum()  # the line ends a stroke

    # It goes on from the state after the line: the same as that of the network that reads it.
    model = sample.restore(tiny_run.folder)
    read = np.concatenate([[[0, 0, 1]], strokes[:-1] / [20, 20, 1]])[None].astype(np.float32)
    expected = mixture(model(read)[0])
    np.testing.assert_allclose(params.mu1, expected.mu1[0] * 20, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(params.eos, expected.eos[0], rtol=1e-3, atol=1e-4)

    main(tiny_run, f"--style=a.{kind}", "--sample_length=30", "--seed=1", "--line_strokes=drawn.tar.gz")
    with tarfile.open(here / "drawn.tar.gz") as tar:
        assert tar.extractfile(tar.next()).read().count(b"<Point ") == 30


# --------------------------------------------------------------------------------------------- which weights it takes


def save_weights(run, folder, step, seed):
    """Save random weights in a run's folder as train.py would; returns their outputs for POINTS."""
    model, rng = Model(read_config(run), infer=True), np.random.default_rng(seed)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    checkpoint = tf.train.Checkpoint(model=model, step=tf.Variable(step))
    tf.train.CheckpointManager(checkpoint, folder, max_to_keep=1, checkpoint_name="model.ckpt").save(step)
    return model(POINTS)[0].numpy()


def test_restore_gives_the_best_weights_or_else_the_newest(broken_run):
    def restored():
        return sample.restore(broken_run)(POINTS)[0].numpy()

    trained = restored()
    newest = save_weights(broken_run, broken_run, 99, seed=1)
    np.testing.assert_array_equal(restored(), trained)
    best = save_weights(broken_run, broken_run / "best", 11, seed=2)
    np.testing.assert_array_equal(restored(), best)
    shutil.rmtree(broken_run / "best")
    np.testing.assert_array_equal(restored(), newest)
    assert not any(np.allclose(a, b) for a, b in ((trained, newest), (newest, best), (best, trained)))


@pytest.mark.parametrize("network", [{"model": "gru"}, {"model": "rnn"}, {"peephole": True}, {"layer_norm": True},
                                     {"num_layers": 1}, {"skip": True}, {"polar": True}])
def test_restore_reads_every_kind_of_network(broken_run, network):
    config = json.loads((broken_run / "config.json").read_text())
    (broken_run / "config.json").write_text(json.dumps({**config, **network}))
    saved = save_weights(broken_run, broken_run / "best", 99, seed=3)
    np.testing.assert_array_equal(sample.restore(broken_run)(POINTS)[0], saved)


def test_restored_network_does_not_drop_out(tiny_run):
    assert read_config(tiny_run.folder).keep_prob == 0.8
    model = sample.restore(tiny_run.folder)
    np.testing.assert_allclose(model(POINTS, training=True)[0], model(POINTS)[0], rtol=0.05, atol=0.05)  # bfloat16
    assert model.keep_prob == model.recurrent_keep_prob == 1


def test_find_run_takes_the_named_folder_or_the_weights_we_ship(tiny_run, here):
    def found(*flags):
        return sample.find_run(sample.build_parser().parse_args(flags).model_dir)

    assert found() == train.PRETRAINED
    assert str(found("--model_dir=elsewhere")) == "elsewhere"
    shutil.copytree(tiny_run.folder, here / "save")
    assert str(found()) == "save"


def test_without_a_run_the_weights_we_ship_draw_and_it_says_so(tiny_run, here, monkeypatch, capsys):
    monkeypatch.setattr(train, "PRETRAINED", tiny_run.folder)
    sample.main(["--sample_length=20"])
    assert capsys.readouterr().out.startswith(f"Drew 1 x 20 points from {tiny_run.folder} with --seed ")
    assert len(read_files(here)) == 5


# --------------------------------------------------------------------------------------------------- what it refuses


def refusal(capsys, *flags):
    """The sentence with which sample.main refused."""
    with pytest.raises(SystemExit) as stop:
        sample.main(["--sample_length=20", *map(str, flags)])
    assert stop.value.code == 2
    captured = capsys.readouterr()
    (message,) = captured.err.splitlines()
    return message.removeprefix("sample.py: error: ")


def change_config(run, **changes):
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, **changes}))


def truncate(run, pattern):
    (path,) = run.glob(pattern)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def spoil_weights(run, value):
    """Put the value in the place of all weights, in a checkpoint that is whole."""
    model = train.restore(run)
    for variable in model.trainable_variables:
        variable.assign(tf.fill(variable.shape, np.float32(value)))
    tf.train.CheckpointManager(tf.train.Checkpoint(model=model), run / "best", 1, checkpoint_name="model.ckpt").save(99)


DAMAGES = {
    "no config.json": (
        lambda run: (run / "config.json").unlink(),
        r"\S+/config\.json cannot be read \(No such file or directory\); name the folder of a run of train\.py",
    ),
    "config.json is no JSON": (
        lambda run: (run / "config.json").write_text("{"),
        r"\S+/config\.json is no JSON; restore it, or train again",
    ),
    "weights of another size": (
        lambda run: change_config(run, rnn_size=9),
        r"the weights in \S+/best/model\.ckpt-\d+ are not those of the network in \S+/config\.json",
    ),
    "weights of another kind": (
        lambda run: change_config(run, model="gru"),
        r"the weights in \S+/best/model\.ckpt-\d+ are not those of the network in \S+/config\.json",
    ),
    "weights of far another size": (
        lambda run: change_config(run, rnn_size=65536, num_layers=64),
        r"the weights in \S+/best/model\.ckpt-\d+ are not those of the network in \S+/config\.json",
    ),
    "weights of more layers": (
        lambda run: change_config(run, num_layers=1),
        r"the weights in \S+/best/model\.ckpt-\d+ are not those of the network in \S+/config\.json",
    ),
    "half the weights": (
        lambda run: truncate(run, "best/*.data-*"),
        r"the checkpoint \S+/best/model\.ckpt-\d+ cannot be read \(.+\); train again, or restore its files",
    ),
    "half the index": (
        lambda run: truncate(run, "best/*.index"),
        r"the checkpoint \S+/best/model\.ckpt-\d+ cannot be read \(.+\); train again, or restore its files",
    ),
    "an index of zeros": (
        lambda run: [path.write_bytes(bytes(path.stat().st_size)) for path in run.glob("best/*.index")],
        r"the checkpoint \S+/best/model\.ckpt-\d+ cannot be read \(.+\); train again, or restore its files",
    ),
    "half the state": (
        lambda run: truncate(run, "best/checkpoint"),
        r"\S+/best/checkpoint is damaged or names a checkpoint that is gone; train again, or restore the files",
    ),
    "a state that is no text": (
        lambda run: (run / "best" / "checkpoint").write_bytes(b"\xff"),
        r"\S+/best/checkpoint is damaged or names a checkpoint that is gone; train again, or restore the files",
    ),
    "weights gone": (
        lambda run: [path.unlink() for path in run.glob("best/model.ckpt*")],
        r"\S+/best/checkpoint is damaged or names a checkpoint that is gone; train again, or restore the files",
    ),
    "weights that are not finite": (
        lambda run: spoil_weights(run, math.nan),
        r"the checkpoint \S+/best/model\.ckpt-\d+ cannot be read "
        r"\(it holds a weight that is infinite or not a number\); train again, or restore its files",
    ),
    "weights that are far too large": (
        lambda run: spoil_weights(run, 1e30),
        r"the network in \S+ draws moves of more than 1e\+09 pen units; train it again, or take another",
    ),
    "a state that is a folder": (
        lambda run: [(run / "best" / "checkpoint").unlink(), (run / "best" / "checkpoint").mkdir()],
        r"\S+/best/checkpoint is damaged or names a checkpoint that is gone; train again, or restore the files",
    ),
    "no checkpoint": (
        lambda run: [shutil.rmtree(run / "best"), (run / "checkpoint").unlink()],
        r"\S+/run holds no checkpoint yet; train\.py writes one every --save_every steps",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_run_that_is_missing_foreign_or_damaged_is_refused(broken_run, here, capsys, damage):
    spoil, sentence = DAMAGES[damage]
    spoil(broken_run)
    message = refusal(capsys, "--model_dir", broken_run)
    assert re.fullmatch(sentence, message), message
    assert read_files(here) == {}


def test_command_refuses_with_a_sentence_and_no_traceback(broken_run, here):
    for path in broken_run.glob("best/model.ckpt-*"):
        path.unlink()
    process = run_program("sample.py", "--model_dir", broken_run, cwd=here)
    assert (process.returncode, process.stdout) == (2, "")
    state = broken_run / "best" / "checkpoint"
    assert process.stderr == (
        f"sample.py: error: {state} is damaged or names a checkpoint that is gone; train again, or restore the files\n"
    )


def test_a_run_is_found_where_it_was_moved(broken_run, here):
    state = broken_run / "best" / "checkpoint"
    (path,) = broken_run.glob("best/*.index")
    state.write_text(f'model_checkpoint_path: "/elsewhere/{path.stem}"\n')
    broken_run.rename(here / "another run")
    assert sample.restore(here / "another run").units == 8


def test_a_file_that_python_cannot_print_is_told_of(tiny_run, here, capsys):
    main(tiny_run, "--filename=a\udcff\n", "--sample_length=20")
    assert "Wrote a\\udcff\\n.{normal," in capsys.readouterr().out
    assert len(read_files(here)) == 5
    assert refusal(capsys, "--style=no\n\x1b[31mline") == (
        "no\\n\\x1b[31mline cannot be read (No such file or directory); name another file.")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--line_strokes=a.tar.gz", "--plot"], "argument --plot: does not go with --line_strokes, which writes no"),
        (["--line_strokes=a.tar.gz", "--scale_factor=5"], "argument --scale_factor: does not go with --line_strokes"),
        (["--line_strokes=a.tar.gz", "--filename=b"], "argument --filename: does not go with --line_strokes"),
        *(([f"--{flag}="], f"argument --{flag}: '' is no name of a file or folder")
          for flag in ("filename", "line_strokes", "style", "model_dir")),
        (["--model_dir=run[1]"], r"argument --model_dir: 'run[1]' holds one of *?[]\ or no text, under which"),
        (["--model_dir=run\udcff"], r"argument --model_dir: 'run\udcff' holds one of *?[]\ or no text"),
    ],
)
def test_flags_that_do_not_fit_are_refused(here, capsys, flags, words):
    with pytest.raises(SystemExit) as stop:
        sample.main(flags)
    assert stop.value.code == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert words in message
    assert read_files(here) == {}


@pytest.mark.parametrize("name", ["..", "folder/", "."])
def test_a_filename_that_is_a_folder_is_refused(here, capsys, name):
    (here / "folder").mkdir()
    message = refusal(capsys, f"--filename={name}", "--model_dir", here)
    assert message == f"--filename {name} is a folder; add what the names of the pictures begin with"


def test_a_long_style_counts_among_the_points(tiny_run, here, capsys, monkeypatch):
    monkeypatch.setattr(sample, "MOST_POINTS", 100)
    np.save(here / "style.npy", make_line(30, np.random.default_rng(0)))
    message = refusal(capsys, "--style=style.npy", "--num_samples=3", "--model_dir", tiny_run.folder)
    assert message == ("150 points, with those of --style, of mixtures of 2 components are too many for the memory; "
                       "draw fewer or shorter samples at once")  # fmt: skip


def test_ctrl_c_ends_with_a_sentence(tiny_run, here, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Model, "sample_batch", interrupted)
    with pytest.raises(SystemExit) as stop:
        main(tiny_run)
    assert (stop.value.code, capsys.readouterr().err) == (130, "sample.py: stopped\n")


def test_memory_that_is_not_enough_is_told(tiny_run, here, capsys, monkeypatch):
    def exhausted(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(Model, "sample_batch", exhausted)
    message = refusal(capsys, "--model_dir", tiny_run.folder)
    assert message == "the memory is not enough; draw fewer or shorter samples at once"


def test_more_points_than_memory_holds_are_refused(here, capsys):
    message = refusal(capsys, "--num_samples=2001", "--sample_length=1000", "--model_dir", here)
    assert message == ("--num_samples 2001 times --sample_length 1000 is more than 2000000 points; draw fewer or "
                       "shorter samples at once")  # fmt: skip


def test_a_style_that_is_no_line_is_refused(tiny_run, here, capsys):
    np.save(here / "flat.npy", np.zeros(6))
    np.save(here / "long.npy", [[40000.0, 0, 0]])
    np.save(here / "odd.npy", [[1.0, 0, 0.5]])
    np.save(here / "nan.npy", [[np.nan, 0, 1]])
    np.save(here / "none.npy", np.zeros((0, 3)))
    np.save(here / "objects.npy", np.array([[1, 2, None]]), allow_pickle=True)
    np.savez(here / "several.npz", np.zeros((2, 3)))
    (here / "several.npz").rename(here / "several.npy")
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 3), }\n"
    (here / "vast.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    for name, text in (("cut.npy", "{'descr': '<f8', 'shape': (1000,\n"), ("deep.npy", "(" + "-" * 8000 + "1, 3)"),
                       ("tuple.npy", "{'descr': ('<i2',), 'fortran_order': False, 'shape': (1, 3), }")):
        (here / name).write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes(99))
    np.save(here / "least.npy", np.array([[-2**63, 0, 1]]))
    (here / "empty.npy").touch()
    (here / "noise.npy").write_bytes(bytes(range(256)))
    (here / "noise.xml").write_bytes(bytes(range(256)))
    (here / "bare.xml").write_text("<a/>")
    (here / "large.xml").write_bytes(b" " * (16 << 20) + b"<a/>")
    values = "holds no point, a move that does not fit 16 bits, or an eos that is not 0 or 1."
    sentences = {
        "nowhere.xml": "cannot be read (No such file or directory); name another file.",
        "nowhere.npy": "cannot be read (No such file or directory); name another file.",
        ".": "cannot be read (Is a directory); name another file.",
        "flat.npy": "does not hold an array of numbers [n, 3], the points (dx, dy, eos).",
        "several.npy": "is no .npy file of numbers (",
        "long.npy": values,
        "odd.npy": values,
        "nan.npy": values,
        "none.npy": values,
        "least.npy": values,
        "cut.npy": "is no .npy file of numbers (",
        "deep.npy": "is no .npy file of numbers (",
        "tuple.npy": "is no .npy file of numbers (",
        "objects.npy": "is no .npy file of numbers (",
        "vast.npy": "is no .npy file of numbers (",
        "empty.npy": "is no .npy file of numbers (",
        "noise.npy": "is no .npy file of numbers (",
        "noise.xml": "is not well-formed XML (",
        "bare.xml": "has no StrokeSet; name the file of one line.",
        "large.xml": "is too large for a line; name the file of one line.",
    }
    before = read_files(here)
    for name, sentence in sentences.items():
        message = refusal(capsys, "--style", name, "--model_dir", tiny_run.folder)
        assert message.startswith(f"{name} {sentence}"), message
    for value in ("-1", "21", "nan", "much"):
        with pytest.raises(SystemExit):
            sample.main(["--bias", value])
        assert "is not a number of at least 0 and at most 20" in capsys.readouterr().err
    assert read_files(here) == before


@pytest.mark.parametrize("flag", ["--filename", "--line_strokes"])
def test_an_output_folder_that_does_not_exist_is_refused_before_anything_is_drawn(here, capsys, flag):
    message = refusal(capsys, flag, here / "nowhere" / "a", "--model_dir", here)
    name = here / "nowhere" / ("a.normal.svg" if flag == "--filename" else "a")
    assert message == f"{flag} {name} is in a folder that does not exist; make it, or name another"


def test_an_output_folder_that_cannot_be_written_is_refused(here, capsys, monkeypatch):
    monkeypatch.setattr(sample.os, "access", lambda path, mode: False)  # permissions do not stop the superuser
    message = refusal(capsys, "--model_dir", here)
    assert message == "--filename sample.normal.svg is in a folder that cannot be written; name another"


@pytest.mark.parametrize(
    ("flags", "name"),
    [(["--filename=a"], "a.color.svg"), (["--line_strokes=a.tar.gz"], "a.tar.gz"),
     (["--filename=a", "--plot"], "a.density.png")],
)  # fmt: skip
def test_a_file_that_cannot_be_written_is_named(tiny_run, here, capsys, flags, name):
    (here / name).mkdir()
    message = refusal(capsys, *flags, "--model_dir", tiny_run.folder)
    assert message == f"{flags[0].partition('=')[0]} {name} cannot be written (Is a directory); name another file"
    assert read_files(here / name) == {} and len(list(here.iterdir())) == 1


def test_a_name_that_is_too_long_is_refused_before_anything_is_drawn(here, capsys):
    message = refusal(capsys, f"--filename={'a' * 240}", "--model_dir", here)
    assert message == f"--filename {'a' * 240}.normal.svg cannot be written (File name too long); name another file"
    assert not list(here.glob("a*"))


@pytest.mark.parametrize(
    ("flag", "value", "allowed"),
    [
        ("sample_length", "0", "is not a whole number of at least 1 and at most 1000000"),
        ("sample_length", "1000001", "is not a whole number of at least 1 and at most 1000000"),
        ("num_samples", "0", "is not a whole number of at least 1 and at most 10000"),
        ("scale_factor", "0", "is not a number of at least 0.001 and at most 1000000.0"),
        ("scale_factor", "1e-300", "is not a number of at least 0.001 and at most 1000000.0"),
        ("scale_factor", "nan", "is not a number of at least 0.001 and at most 1000000.0"),
        ("seed", "-1", "is not a whole number of at least 0 and at most 2147483647"),
    ],
)
def test_a_bad_value_is_refused_before_anything_is_read(here, capsys, flag, value, allowed):
    with pytest.raises(SystemExit) as stop:
        sample.main([f"--{flag}={value}", "--model_dir=nowhere"])
    assert stop.value.code == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert message == f"sample.py: error: argument --{flag}: '{value}' {allowed}"


def test_restore_raises_what_main_tells(broken_run):
    (broken_run / "config.json").unlink()
    with pytest.raises(RunError, match=r"config\.json cannot be read"):
        sample.restore(broken_run)
