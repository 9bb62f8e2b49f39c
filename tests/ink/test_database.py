"""The database on disk: archives, folders, lists, transcriptions."""

import gzip
import json
import os
import shutil
import tarfile

import utils
from conftest import CACHE, INDEX, line
from handwriting.files import UserError
from handwriting.ink import cache, database
from handwriting.ink.export import write_line_strokes
from handwriting.ink.formats import read_ink
from made_up import (
    TAR,
    TEXTS,
    edits,
    folder_of,
    forty,
    load,
    mutations,
    numbers,
    read_or_refused,
    tar_of,
    xml,
)

import pytest
from hypothesis import given
from hypothesis import strategies as st

# ---------------------------------------------------------------------- sources


def test_folder_and_archive_give_the_same_lines_sorted_by_name(tmp_path):
    names = {f"{form}-{i:02d}.xml": i for form in ("b01", "a", "a-01u") for i in (2, 1)}
    one = folder_of(tmp_path / "one", names)
    two = tar_of(tmp_path / "two" / TAR, {f"x/{name}": xml(i) for name, i in names.items()})
    assert load(one).names == load(two).names
    assert load(one).names == ["a-01", "a-01u-01", "a-01u-02", "a-02", "b01-01", "b01-02"]
    assert numbers(load(one)) == numbers(load(two)) == [1, 1, 2, 2, 1, 2]
    assert (one / CACHE).read_bytes() == (two / CACHE).read_bytes()


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("lineStrokes-all.tgz", "w:gz"),
        ("lineStrokes-all.tar", "w"),
        ("linestrokes-all.TAR.GZ", "w:gz"),
        (TAR, "w"),  # unpacked on the way, as browsers do
    ],
)
def test_archive_may_have_another_ending(tmp_path, name, mode):
    tar_of(tmp_path / name, {"a-01.XML": xml(1), "a-02.xml": xml(2)}, mode)
    assert load(tmp_path).names == ["a-01", "a-02"]


def test_archive_members_of_mac_links_and_outside_names_are_passed_over(tmp_path):
    members = {"lineStrokes/a-01.xml": xml(1), "lineStrokes/a-02.xml": xml(2)}
    members |= {"lineStrokes/._a-01.xml": b"mac", "__MACOSX/lineStrokes/._a-02.xml": b"mac"}
    members |= {"__MACOSX/a-03.xml": b"mac", "lineStrokes/notes.txt": b""}
    members |= {"/tmp/abs-01.xml": xml(3), "../up-01.xml": xml(4), "x/../../up-02.xml": xml(5)}
    kinds = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE
    for kind in kinds:
        member = tarfile.TarInfo(f"lineStrokes/odd{kind.decode()}-01.xml")
        member.type, member.linkname = kind, "lineStrokes/a-01.xml"
        members[member] = b""
    loader = load(tar_of(tmp_path / TAR, members))
    assert (loader.names, loader.num_damaged) == (["a-01", "a-02"], 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == [TAR, CACHE, INDEX]


def test_folder_has_files_in_capitals_and_linked_folders_and_none_of_mac(tmp_path):
    folder_of(tmp_path, {"a-01.XML": 1, "a-02.xml": 2, "._a-01.xml": b"mac"})
    folder_of(tmp_path / "else", {"b-01.xml": 3})
    (tmp_path / "lineStrokes" / "b").symlink_to(tmp_path / "else" / "lineStrokes" / "b")
    (tmp_path / "lineStrokes" / "b" / "round").symlink_to(tmp_path / "lineStrokes")  # no end
    (tmp_path / "lineStrokes" / "__MACOSX").mkdir()
    (tmp_path / "lineStrokes" / "__MACOSX" / "c-01.xml").write_bytes(b"mac")
    loader = load(tmp_path)
    assert (loader.names, loader.num_damaged) == (["a-01", "a-02", "b-01"], 0)


@pytest.mark.parametrize("name", ["a[b]", "[", "*", "a?", "a\\b", "a b"])
def test_folder_names_may_have_any_letter(tmp_path, name):
    folder = folder_of(tmp_path / name, {"a[1]-01.xml": 1, "a*-02.xml": 2})
    (folder / "mine.txt").write_text("a*")
    for loader in (load(folder), load(folder)):  # parsed, and from the cache
        assert numbers(loader) == [2, 1]
    assert len(loader.select("mine")) == 1
    write_line_strokes(loader.raw_data, folder / "[x]*.tar.gz")
    assert read_ink(folder / "lineStrokes" / "a[1]" / "a[1]-01.xml")[0][0][0, 0] == 1


def test_links_to_nothing_below_a_folder_are_counted_and_named(tmp_path):
    folder_of(tmp_path, forty(1, 10))
    for i in range(11, 41):
        (tmp_path / "lineStrokes" / f"g-{i}.xml").symlink_to(tmp_path / "gone" / f"g-{i}.xml")
    words = r"30 damaged files of the 40 in .*lineStrokes are left out: .*g-11.xml is a link to no"
    with pytest.warns(UserWarning, match=words):
        loader = load(tmp_path)
    assert (len(loader.raw_data), loader.num_damaged) == (10, 30)
    folder_of(tmp_path / "two", forty(1, 10))
    (tmp_path / "two" / "lineStrokes" / "g").symlink_to(tmp_path / "gone")
    with pytest.warns(UserWarning, match="1 damaged files of the 11 .*g is a link to nothing"):
        load(tmp_path / "two")
    with pytest.warns(UserWarning, match="1 damaged files of the 11"):  # from the cache, too
        load(tmp_path / "two")


@pytest.mark.parametrize("name", ["lineStrokes", TAR])
def test_source_that_is_a_link_to_nothing_is_an_error(tmp_path, name):
    tar_of(tmp_path / "lineStrokes-all.tar", {"a-01.xml": xml(1)}, "w")
    (tmp_path / name).symlink_to(tmp_path / "gone")
    with pytest.raises(UserError, match=f"{name} is a link to nothing; correct or remove it"):
        load(tmp_path)


def test_tree_unpacked_twice_counts_once(tmp_path):
    folder_of(tmp_path, forty())
    shutil.copytree(tmp_path / "lineStrokes", tmp_path / "copy")
    shutil.move(tmp_path / "copy", tmp_path / "lineStrokes" / "lineStrokes")
    with pytest.warns(UserWarning, match="holds 80 files, but only 40 lines"):
        loader = load(tmp_path)
    assert sorted(numbers(loader)) == list(range(1, 41))
    assert len(set(loader.names)) == 40


def test_folder_that_lacks_lines_of_the_archive_beside_it_is_told_of(tmp_path):
    folder_of(tmp_path, forty(1, 10))
    tar_of(tmp_path / TAR, {name: xml(i) for name, i in forty().items()})
    words = rf"lineStrokes with 10 lines is used, but .*{TAR} has 40, of which 30 are missing"
    for _ in range(2):  # parsed, and from the cache
        with pytest.warns(UserWarning, match=words):
            assert len(load(tmp_path).raw_data) == 10
    (tmp_path / TAR).unlink()
    assert len(load(tmp_path).raw_data) == 10
    (tmp_path / TAR).write_bytes(b"cut")
    with pytest.warns(UserWarning, match=f"10 lines is used, but .*{TAR} is not a whole archive"):
        load(tmp_path)


def test_archive_beside_another_is_compared_too(tmp_path):
    tar_of(tmp_path / TAR, {name: xml(i) for name, i in forty(1, 30).items()})
    tar_of(tmp_path / "lineStrokes-all.tar", {name: xml(i) for name, i in forty().items()}, "w")
    with pytest.warns(UserWarning, match=r"with 30 lines is used, .*-all.tar has 40, of which 10"):
        load(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "garbage", "not gzip", "empty", "cut tar", "odd tar"])
def test_archive_that_is_not_whole_is_an_error(tmp_path, damage):
    write_line_strokes([line(400, seed) for seed in range(30)], tmp_path / TAR)
    whole = (tmp_path / TAR).read_bytes()
    tar, middle = gzip.decompress(whole), len(whole) // 2
    second = tar.index(b"lineStrokes/s00/s00-000/s00-000-02")
    broken = {
        "cut": whole[:middle],
        "garbage": whole[:middle] + bytes(range(256)) * 4 + whole[middle:],
        "not gzip": b"<html>not found</html>",
        "empty": b"",
        "cut tar": tar[:second],  # between two members
        "odd tar": tar[:second] + b"?" + tar[second + 1 :],
    }
    (tmp_path / TAR).write_bytes(broken[damage])
    with pytest.raises(UserError, match=f"{TAR} is not a whole archive .*download it again"):
        load(tmp_path)
    assert not (tmp_path / CACHE).exists()


@mutations(80)
@given(edits(), st.booleans())
def test_archive_with_any_damage_is_read_or_refused(tmp_path, edited, packed):
    write_line_strokes([line(12, seed) for seed in range(3)], tmp_path / TAR)
    whole = (tmp_path / TAR).read_bytes()
    content = edited(whole) if packed else gzip.compress(edited(gzip.decompress(whole)), 1)
    (tmp_path / TAR).write_bytes(content)
    found = read_or_refused(lambda: list(database.read_source(tmp_path / TAR)), TAR)
    assert found is None or all(isinstance(content, bytes) for _, content in found)


def test_folder_that_cannot_be_read_is_an_error(tmp_path, monkeypatch):
    folder_of(tmp_path, {"a-01.xml": 1, "b-01.xml": 2})
    scandir = os.scandir

    def refuse(path):  # permissions do not stop the superuser
        if str(path).endswith("b"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match=r"lineStrokes/b cannot be read \(Permission denied\)"):
        load(tmp_path)


@pytest.mark.parametrize("mark", ["utf-8-sig", "utf-16", "utf-8"])
def test_list_may_have_a_byte_order_mark(tmp_path, mark):
    (tmp_path / "mine.txt").write_bytes("a01-000 \r\nb\n".encode(mark))
    assert database.read_list(tmp_path / "mine.txt") == {"a01-000", "b"}


# ---------------------------------------------------------------------- transcriptions


def transcript(*texts, end="\n"):
    """A form's transcription; what the machine read (OCR) is of no account."""
    return end.join(["OCR:", "", "not", "these", "", "CSR:", "", *texts, ""]).encode("latin-1")


def texts_of(path, forms):
    """Write transcriptions, {form: content}, into path/ascii; return path."""
    for form, content in forms.items():
        file = path / "ascii" / form[:1] / f"{form}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return path


@pytest.fixture
def two_forms(tmp_path):
    """A folder with lines of the forms a and a-01u and their cache."""
    folder_of(tmp_path, {f"{name}.xml": 1 for name in ("a-01", "a-02", "a-01u-01", "a-03")})
    assert load(tmp_path).names == ["a-01", "a-01u-01", "a-02", "a-03"]
    return tmp_path


@pytest.fixture
def no_parsing(two_forms, monkeypatch):
    monkeypatch.setattr(utils, "parse_line", None)


FORMS = {
    "a": transcript("  one \t", "", "thr\xe9e", "", " ", end="\r\n"),
    "a-01u": transcript("of u"),
    "b": transcript("no line is of b"),
}
FOUND = ["one", "of u", None, "thr\xe9e"]


@pytest.mark.parametrize("name", ["ascii", TEXTS, "ascii-all.tgz", "ASCII-all.TAR", "Ascii"])
def test_texts_are_the_lines_behind_csr_in_folder_or_archive(two_forms, name):
    if name.lower() == "ascii":
        texts_of(two_forms, FORMS)
        (two_forms / "ascii" / "a" / "._a.txt").write_bytes(transcript("mac"))
        (two_forms / "ascii" / "a").rename(two_forms / "else")
        (two_forms / "ascii" / "a").symlink_to(two_forms / "else")
        (two_forms / "ascii").rename(two_forms / name)
    else:
        members = {f"__MACOSX/{form}.txt": transcript("mac") for form in FORMS}
        members |= {f"ascii/x/{form}.TXT": content for form, content in FORMS.items()}
        tar_of(two_forms / name, members, "w" if name.endswith("TAR") else "w:gz")
    for _ in range(2):  # read, and from the cache
        assert load(two_forms).texts == FOUND


def test_texts_of_forms_that_do_not_fit_are_none_and_told_of(two_forms):
    texts_of(two_forms, {"a": transcript("one", "two"), "a-01u": transcript("of u")})
    words = "1 of 2 forms have no texts, because the transcriptions in .* do not have .*: a.$"
    for _ in range(2):  # read, and from the cache
        with pytest.warns(UserWarning, match=words) as caught:
            assert load(two_forms).texts == [None, "of u", None, None]
        assert len(caught) == 1
    for content in (transcript(*"1234"), transcript(), b"1\n2\n3", b"\0\xff" * 99, b"CSR:\n\n\n"):
        texts_of(two_forms, {"a": content})
        with pytest.warns(UserWarning, match=words):
            assert load(two_forms).texts == [None, "of u", None, None]


def test_texts_need_lines_numbered_from_one(tmp_path):
    lines = {"a-1.xml": 1, "a-2.xml": 1, "b-02.xml": 1, "b-03.xml": 1, "c-01.xml": 1, "c-x.xml": 1}
    forms = {form: transcript("one", "two") for form in "abc"}
    texts_of(folder_of(tmp_path, lines | {"d.xml": 1}), forms)
    with pytest.warns(UserWarning, match="3 of 4 forms have no texts, .*: , b, c"):
        assert load(tmp_path).texts == ["one", "two"] + 5 * [None]


def test_note_on_texts_names_five_forms_at_most(tmp_path):
    texts_of(folder_of(tmp_path, forty()), {"f00": transcript(*"12345"), "f05": transcript("1")})
    with pytest.warns(UserWarning, match=r"7 of 8 forms .*: f01, f02, f03, f04, f05, \.\.\.\.$"):
        assert load(tmp_path).texts == [*"12345"] + 35 * [None]


@pytest.mark.usefixtures("no_parsing")
def test_cache_without_texts_is_completed_and_no_line_parsed(two_forms, monkeypatch):
    cache, index = (two_forms / CACHE).read_bytes(), json.loads((two_forms / INDEX).read_text())
    assert load(texts_of(two_forms, FORMS)).texts == FOUND
    completed = json.loads((two_forms / INDEX).read_text())
    assert index.items() <= completed.items() and completed["texts"] == FOUND
    assert (two_forms / CACHE).read_bytes() == cache
    monkeypatch.setattr(database, "read_source", None)  # not called again
    assert load(two_forms).texts == FOUND


@pytest.mark.usefixtures("no_parsing")
@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_texts_that_change_are_read_anew_and_those_that_vanish_stay_in_the_cache(two_forms, kind):
    def write(first):
        forms = FORMS | {"a": transcript(first, "two", "three")}
        if kind == "folder":
            texts_of(two_forms, forms)
        else:
            tar_of(two_forms / TEXTS, {f"{form}.txt": text for form, text in forms.items()})

    for first in ("one", "another", "1"):
        write(first)
        assert load(two_forms).texts == [first, "of u", "two", "three"]
    shutil.rmtree(two_forms / "ascii") if kind == "folder" else (two_forms / TEXTS).unlink()
    assert load(two_forms).texts == ["1", "of u", "two", "three"]
    write("here")
    assert load(two_forms).texts == ["here", "of u", "two", "three"]


@pytest.mark.usefixtures("no_parsing")
@pytest.mark.parametrize("kept", [None, "text", {}, [], ["a"] * 3, ["a"] * 5, ["a", "b", "c", 4]])
def test_texts_in_the_cache_that_are_none_are_read_anew(two_forms, kept):
    load(texts_of(two_forms, FORMS))
    index = json.loads((two_forms / INDEX).read_text())
    for changes in ({"texts": kept}, {"texts": ["a"] * 4, "texts_source": kept}):
        (two_forms / INDEX).write_text(json.dumps(index | changes))
        assert load(two_forms).texts == FOUND
        assert json.loads((two_forms / INDEX).read_text()) == index


def test_texts_are_read_where_no_cache_can_be_written(two_forms, monkeypatch):
    texts_of(two_forms, FORMS)
    before = (two_forms / INDEX).read_bytes()
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(30, "Read-only")))
    assert load(two_forms).texts == FOUND
    assert (two_forms / INDEX).read_bytes() == before


def test_texts_need_a_cache_that_names_its_lines(two_forms):
    texts_of(two_forms, FORMS)
    (two_forms / INDEX).write_text(json.dumps({"cache": "another's"}))
    with pytest.warns(UserWarning, match="cannot be told apart"):
        assert load(two_forms).texts == [None] * 4
    assert json.loads((two_forms / INDEX).read_text()) == {"cache": "another's"}


def test_texts_of_other_lines_than_the_cache_has_are_not_kept_in_it(two_forms):
    load(texts_of(two_forms, FORMS))
    before = (two_forms / INDEX).read_bytes()
    names = ["a-01u-01", "a-03", "a-02", "a-01"]  # as many, in another order
    found = cache.add_texts(two_forms, database.Lines([line(9)] * 4, names, 0, []))
    assert found.texts == ["of u", "thr\xe9e", None, "one"]
    assert (two_forms / INDEX).read_bytes() == before


def test_corpus_without_transcriptions_has_no_texts_and_no_note(two_forms):
    assert load(two_forms).texts == [None] * 4
    (two_forms / "ascii").mkdir()
    (two_forms / "ascii" / "a.xml").write_text("")
    assert load(two_forms).texts == [None] * 4


def test_transcriptions_that_are_not_whole_are_an_error(two_forms):
    whole = tar_of(two_forms / TEXTS, {"a.txt": bytes(range(256)) * 9}) / TEXTS
    whole.write_bytes(whole.read_bytes()[:-20])
    with pytest.raises(UserError, match=f"{TEXTS} is not a whole archive .*download it again"):
        load(two_forms)
    whole.unlink()
    whole.symlink_to(two_forms / "gone")
    with pytest.raises(UserError, match=f"{TEXTS} is a link to nothing; correct or remove it"):
        load(two_forms)
