import tarfile

from handwriting.evaluation import default_split
from handwriting.files import UserError
from handwriting.ink import parallel
from handwriting.ink.formats import read_ink
from handwriting.ink.unipen import find_unipen, parse_unipen, read_unipen, read_unipen_file
from handwriting.ink.unipen_lines import name_hand, parse_folder
from unipen_files import labelled, sheet
from utils import DataLoader

import numpy as np
import pytest

TWO = b""".COMMENT .SEGMENT WORD 0 OK "not this"
.WRITER_ID me  too
.PEN_DOWN
1 2
3 4
.PEN_UP
.PEN_DOWN
5 6
.PEN_UP
7 8
.PEN_DOWN
9 10
11 12
13 14
.SEGMENT WORD 0-1 OK "a"
.SEGMENT TEXT 0,3:1-3:1 ? "quo\\"te \\\\"
.SEGMENT WORD 2 GOOD "in the air"
.SEGMENT WORD 2-4 BAD "too far"
"""


def points(segment):
    return [stroke.tolist() for stroke in segment.strokes]


def test_components_are_counted_without_empty_lifts_and_cut_by_their_ranges():
    ink = parse_unipen(TWO)
    assert ink.writer == "me too"
    first, text = ink.segments  # the others are a lift of the pen and a component that is not there
    assert (first.level, first.quality, first.text) == ("WORD", "OK", "a")
    assert points(first) == [[[1, -2], [3, -4]], [[5, -6]]]  # y points up in the file
    assert text.text == 'quo"te \\' and points(text) == [[[1, -2], [3, -4]], [[11, -12]]]


def test_includes_nest_and_stop_at_some_depth():
    inside = {"a.doc": b".COORD T Y X\n.INCLUDE b.dat\n", "b.dat": b".PEN_DOWN\n9 2 1\n9 4 3\n"}
    ink = parse_unipen(b'.INCLUDE a.doc\n.INCLUDE gone\n.SEGMENT WORD 0 OK "x"\n', inside.get)
    assert points(ink.segments[0]) == [[[1, -2], [3, -4]]]
    endless = {"a": b".INCLUDE a\n.PEN_DOWN\n1 1\n"}
    assert 1 < len(parse_unipen(b".INCLUDE a\n", endless.get).components) < 20


def test_units_differ_by_axis_decimals_are_read_and_missing_points_left_out():
    units = b".X_POINTS_PER_INCH 254\n.Y_POINTS_PER_MM 20\n.PEN_DOWN\n1.5 2\n0 0\n-3 4\n"
    (segment,) = parse_unipen(units + b'.SEGMENT WORD 0 OK "x"').segments
    assert points(segment) == [[[1.5, -1], [-3, -2]]]


def test_a_label_without_ranges_stands_before_its_ink():
    digit = b'.SEGMENT DIGIT ? "%d"\n.PEN_DOWN\n%d %d\n.PEN_UP\n'
    found = parse_unipen(digit % (8, 1, 1) + digit % (9, 2, 2)).segments
    assert [(s.text, points(s)) for s in found] == [("8", [[[1, -1]]]), ("9", [[[2, -2]]])]


@pytest.mark.parametrize("content", [b"", b"1 2 3", b".PEN_UP\n1 1\n", b"\0\xff" * 99])
def test_a_file_without_ink_is_refused(content, tmp_path):
    path = tmp_path / "x.dat"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"{path} holds no ink in UNIPEN's format"):
        read_ink(path)


def test_a_single_file_is_read_with_what_it_includes_beside_it(tmp_path):
    sheet(tmp_path / "unipen", writers=1, files=1)
    path = next((tmp_path / "unipen" / "data" / "7").rglob("*.dat"))
    assert len(read_unipen_file(path).segments) == 40
    lines, texts = read_ink(path)
    assert len(lines) == len(texts) > 3 and all(line.dtype == np.int16 for line in lines)
    assert {word for text in texts for word in text.split()} == {"nose", "one", "seen", "moon"}


def test_ink_without_labels_is_divided_into_lines(tmp_path):
    rows = [labelled(k, 900 - 300 * row) for row in range(2) for k in range(6)]
    path = tmp_path / "x.unp"
    path.write_text("".join(strokes for strokes, _ in rows))
    lines, texts = read_ink(path)
    assert len(lines) == 2 and texts == [None, None]


def test_archive_and_folder_give_the_same_lines_with_texts_and_hands(tmp_path):
    folder, data = sheet(tmp_path / "a" / "unipen", writers=30), tmp_path / "b"
    data.mkdir()
    for ending, mode in ((".tgz", "w:gz"), (".tar.xz", "w:xz"), (".tar", "w")):
        with tarfile.open(data / f"train_r01_v07{ending}", mode) as tar:
            tar.add(folder, "CDROM/train_r01_v07")
    found = find_unipen(data)
    assert len(found) == 3 and find_unipen(tmp_path / "a") == [str(folder)]
    lines = [parse_folder(source) for source in [folder, *found]]
    assert lines[0].names == sorted(lines[0].names) and len(lines[0].names) > 60
    for other in lines[1:]:
        assert (other.names, other.texts) == (lines[0].names, lines[0].texts)
        assert all(map(np.array_equal, other.raw_data, lines[0].raw_data))

    loader = DataLoader(5, 50, data_dir=tmp_path / "a", seed=1)
    assert loader.texts == lines[0].texts and len(set(loader.hands)) == 30
    again = DataLoader(5, 50, data_dir=tmp_path / "a", seed=1)  # from the cache
    assert again.texts == loader.texts and again.hands == loader.hands
    assert np.array_equal(again.next_batch()[0], loader.next_batch()[0])

    # A writer's lines all train, or all validate, or are all kept for tests.
    splits = {}
    for hand, *split in zip(loader.hands, loader.trains, loader.validates, strict=True):
        splits.setdefault(tuple(split), set()).add(hand)
    assert sum(map(len, splits.values())) == 30 and set(splits) == {
        (True, False), (False, True), (False, False),
    }  # fmt: skip
    assert {loader.hands[k] for k in loader.select("test")} == splits[False, False]
    assert default_split(loader) == "test"


def test_of_few_writers_none_is_kept_for_tests(tmp_path):
    sheet(tmp_path / "unipen", writers=3)
    loader = DataLoader(5, 50, data_dir=tmp_path)
    assert sum(loader.validates) > 0 and all(np.add(loader.trains, loader.validates))
    with pytest.raises(UserError, match=r"no UNIPEN in .* by 20 writers or more"):
        loader.select("test")
    assert default_split(loader) == "valid"


def test_several_processes_read_the_same_and_one_that_fails_is_stood_in_for(tmp_path, monkeypatch):
    for maker in ("mkr", "other"):
        sheet(tmp_path / "unipen", maker=maker)
    one = parse_folder(tmp_path / "unipen")
    monkeypatch.setattr(parallel, "LARGE", 0)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    for child in (parallel.CHILD, "1 / 0", parallel.CHILD + "; raise SystemExit(3)"):
        monkeypatch.setattr(parallel, "CHILD", child)
        two = parse_folder(tmp_path / "unipen")
        assert (two.names, two.texts) == (one.names, one.texts)
        assert all(map(np.array_equal, two.raw_data, one.raw_data))
    assert parallel.share({"a": 5, "b": 3, "c": 3}, 2) == [["a"], ["b", "c"]]
    assert parallel.share({"a": 5}, 4) == [["a"]]


def test_names_tell_neither_maker_nor_writer(tmp_path):
    sheet(tmp_path / "unipen", writers=2)
    names = parse_folder(tmp_path / "unipen").names
    assert not any("mkr" in name or "writer" in name for name in names)
    assert {name[:-5] for name in names} == {name_hand("mkr", f"writer{k}") for k in range(2)}


def test_damage_is_told(tmp_path):
    archive = tmp_path / "unipen.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(sheet(tmp_path / "x"), "unipen")
    archive.write_bytes(archive.read_bytes()[:-2000])
    with pytest.raises(UserError, match=r"unipen\.tgz is not a whole archive"):
        list(read_unipen(archive))
    (tmp_path / "unipen").mkdir()
    with pytest.raises(UserError, match="holds no UNIPEN files data/CATEGORY/MAKER"):
        list(read_unipen(tmp_path / "unipen"))
