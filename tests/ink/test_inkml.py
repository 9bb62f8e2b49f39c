"""handwriting/ink/inkml.py: traces of InkML, in every way that the standard writes them."""

from handwriting.files import UserError
from handwriting.ink.inkml import read_inkml

import numpy as np
import pytest
from test_page_lines import LINE, page, word

INK = '<ink xmlns="http://www.w3.org/2003/InkML">{}</ink>'
FORMAT = "<traceFormat>{}</traceFormat>"
TRUTH = '<annotation type="truth">{}</annotation>'


def lines_of(inside):
    """The (strokes, text) of each line in an ink."""
    return [
        ([stroke.tolist() for stroke in strokes], text)
        for strokes, text in read_inkml(INK.format(inside).encode())
    ]


def positions(trace, channels=""):
    """The positions (x, y) of the points in one trace."""
    (((stroke,), _),) = lines_of(FORMAT.format(channels) + f"<trace>{trace}</trace>")
    return [point[:2] for point in stroke]


def channel(name, more=""):
    return f'<channel name="{name}" {more}/>'


def traces(strokes):
    return "".join(
        f"<trace>{', '.join(f'{x} {y}' for x, y, _ in stroke)}</trace>" for stroke in strokes
    )


# -------------------------------------------------------------------------------------- traces


def test_traces_are_strokes_in_order_with_a_text():
    inside = '<annotation type="writer">me</annotation>' + TRUTH.format(" so it ")
    inside += "<trace>1 2, 3 4,5.5 -6e1</trace><trace>7 8</trace><trace type='penUp'>0 0</trace>"
    assert lines_of(inside) == [([[[1, 2, 0], [3, 4, 0], [5.5, -60, 0]], [[7, 8, 0]]], "so it")]


def test_the_example_of_the_standard_has_the_positions_that_it_tells():
    flags = channel("S1", 'type="boolean"') + channel("S2", 'type="boolean"')
    flags = f"<intermittentChannels>{flags}</intermittentChannels>"
    trace = "1125 18432,'23'43,\"7\"-8,3-5,7 -3,6 2,6 8,3 6 T,2 4*T,3 6,3-6 F F"
    assert positions(trace, channel("X") + channel("Y") + flags) == [
        [1125, 18432], [1148, 18475], [1178, 18510], [1211, 18540], [1251, 18567], [1297, 18596],
        [1349, 18633], [1404, 18676], [1461, 18723], [1521, 18776], [1584, 18823],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("trace", "expected"),
    [
        ("1 2,'3'-4,5 6,!7!8,9 1", [[1, 2], [4, -2], [9, 4], [7, 8], [9, 1]]),
        ("1 2,'3 4,1 9", [[1, 2], [4, 4], [5, 9]]),  # each channel by itself
        ("1 2,3 5,\"1\"1", [[1, 2], [3, 5], [6, 9]]),  # differences begin with those of values
        ("125 8,'23'43,-3-5", [[125, 8], [148, 51], [145, 46]]),
        ("1.5.25,-.5-1", [[1.5, 0.25], [-0.5, -1]]),
        ("1 2,* 3,4 *", [[1, 2], [1, 3], [4, 3]]),
        ("1 2,'3'4,**,* 0", [[1, 2], [4, 6], [7, 10], [10, 10]]),  # the same difference
        ("1 2,? 3,4 5,", [[1, 2], [4, 5]]),
        ("#1F -#a,1e1 2E-1", [[31, -10], [10, 0.2]]),
        (" ' 1\n 2 , - 3\t4 ", [[1, 2], [-2, 4]]),
    ],
)
def test_values_are_differences_wildcards_or_hexadecimal_and_may_touch(trace, expected):
    assert positions(trace) == expected
    assert positions(trace, channel("X") + channel("Y")) == expected


@pytest.mark.parametrize(("unit", "factor"), [("ms", 1), ("s", 1000)])
def test_channels_may_stand_in_any_order_and_tell_times(unit, factor):
    channels = [channel("Y"), channel("F"), channel("T", f'units="{unit}"'), channel("X")]
    head = FORMAT.format("".join(channels))
    ((strokes, text),) = lines_of(head + "<trace>2 9 5 1,'2 9'1'2</trace>")
    assert strokes == [[[1, 2, 5 * factor], [3, 4, 6 * factor]]] and text is None


def test_units_scale_y_to_x_and_orientation_turns():
    channels = channel("X", 'units="himetric"') + channel("Y", 'units="mm" orientation="-ve"')
    assert positions("1 2", channels) == [[1, -200]]
    assert positions("1 2", channel("X", 'units="dev"') + channel("Y", 'units="mm"')) == [[1, 2]]


def test_each_trace_has_the_format_that_it_or_its_group_refers_to():
    turned = FORMAT.format(channel("Y") + channel("X"))
    head = f'<definitions><context xml:id="a"><inkSource>{turned}</inkSource></context>'
    head += '<context xml:id="b" traceFormatRef="#f"/><traceFormat xml:id="f"/>'
    head += '<context xml:id="c" contextRef="#c"/></definitions>'
    inside = "".join(f'<trace contextRef="#{name}">1 2</trace>' for name in "abcd")
    inside += '<trace brushRef="#b">1 2</trace>'
    turned, plain = [[[2, 1, 0]]], [[[1, 2, 0]]]
    ((strokes, _),) = lines_of(head + inside)
    assert strokes == turned + plain + turned * 3
    group = f'<traceGroup contextRef="#b">{inside}</traceGroup>'
    ((strokes, _),) = lines_of(head + group)
    assert strokes == turned + plain * 4


# -------------------------------------------------------------------------------------- groups


def test_groups_with_traces_are_lines():
    group = '<annotation type="transcription">{0}</annotation><trace>{0} 1</trace>'
    group = f"<traceGroup>{group}</traceGroup>"
    expected = [([[[k, 1, 0]]], str(k)) for k in (7, 8, 9)]
    assert lines_of("".join(map(group.format, "789"))) == expected


ONENOTE = """<inkml:ink xmlns:emma="http://www.w3.org/2003/04/emma"
  xmlns:msink="http://schemas.microsoft.com/ink/2010/main"
  xmlns:inkml="http://www.w3.org/2003/InkML"><inkml:definitions>
<inkml:context xml:id="ctx"><inkml:inkSource xml:id="source"><inkml:traceFormat>
  <inkml:channel name="X" type="integer" max="32767" units="himetric"/>
  <inkml:channel name="Y" type="integer" max="32767" units="himetric"/>
  <inkml:channel name="F" type="integer" max="32767" units="dev"/>
</inkml:traceFormat></inkml:inkSource></inkml:context></inkml:definitions>
<inkml:traceGroup><inkml:traceGroup>{}</inkml:traceGroup></inkml:traceGroup></inkml:ink>"""


def onenote_word(x, y, text):
    """A group of Windows' ink analysis with what it says in two ways, the likelier first."""
    said = "".join(
        f"<emma:interpretation><emma:literal>{t}</emma:literal></emma:interpretation>"
        for t in (text, "?")
    )
    ink = "".join(
        f'<inkml:trace contextRef="#ctx">{", ".join(f"{a:.0f} {b:.0f} 9" for a, b, _ in stroke)}'
        "</inkml:trace>"
        for stroke in word(x, y)
    )
    said = said and f"<emma:emma><emma:one-of>{said}</emma:one-of></emma:emma>"
    return (
        "<inkml:traceGroup><inkml:annotationXML><msink:context type='inkWord'/>"
        f"{said}</inkml:annotationXML>{ink}</inkml:traceGroup>"
    )


def test_words_of_onenote_become_lines_with_their_texts():
    rows = [[onenote_word(0, LINE * k, f"a{k}"), onenote_word(150, LINE * k, "b")] for k in (0, 1)]
    groups = "".join(f"<inkml:traceGroup>{''.join(row)}</inkml:traceGroup>" for row in rows)
    loose = "".join(word for row in rows for word in row)  # without a group of each line
    for inside in (groups, loose):
        lines = read_inkml(ONENOTE.format(inside).encode())
        assert [text for _, text in lines] == ["a0 b", "a1 b"]
        for k, (strokes, _) in enumerate(lines):
            expected = [np.rint(stroke).tolist() for stroke in page([k])]
            assert [stroke.tolist() for stroke in strokes] == expected


def test_a_page_without_groups_or_in_one_is_divided_with_its_text():
    strokes = page([0, 1])
    for inside in (traces(strokes), f"<traceGroup>{traces(strokes)}</traceGroup>"):
        assert [text for _, text in lines_of(inside)] == [None, None]
        lines = lines_of(TRUTH.format("one\n two") + inside)
        assert [text for _, text in lines] == ["one", "two"]
        assert lines[1][0] == [stroke.tolist() for stroke in page([1])]
        whole = [(lines[0][0] + lines[1][0], "one")]
        assert lines_of(TRUTH.format("one") + inside) == whole  # it says that it is one line


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "not well-formed XML"),
        ("<ink>", "not well-formed XML"),
        ('<!DOCTYPE ink [<!ENTITY a "aa">]><ink>&a;</ink>', "declares entities"),
        ("<html/>", "is no InkML"),
        (INK.format(""), "holds no ink"),
        (INK.format("<trace> </trace>"), "has a trace without points"),
        (INK.format("<trace>? 1</trace>"), "has a trace without points"),
        (INK.format("<trace>1 2, 3 x</trace>"), "has 'x' in a trace, which is no value"),
        (INK.format("<trace>1 2, 3</trace>"), "a point without all of its channels X, Y"),
        (INK.format("<trace>1 2,,3 4</trace>"), "a point without all of its channels X, Y"),
        (INK.format("<trace>1 nan</trace>"), "has 'nan' in a trace"),
        (INK.format("<trace>1 1e300</trace>"), "infinite or no number"),
        (INK.format('<traceFormat><channel name="X"/></traceFormat>'), "no channels X and Y"),
    ],
)
def test_what_holds_no_ink_is_refused(content, words):
    with pytest.raises(UserError, match=words):
        read_inkml(content.encode())


def test_long_white_space_and_deep_groups_take_no_long_time():
    assert positions(f"1 2,3{' ' * 200_000}4") == [[1, 2], [3, 4]]
    deep = "<traceGroup>" * 20_000 + "<trace>1 2</trace>" + "</traceGroup>" * 20_000
    assert lines_of(deep) == [([[[1, 2, 0]]], None)]
