"""The page in a real Chromium: write, look, scribble, record, save."""

import json
import xml.etree.ElementTree as ET

from handwriting.page.page import build_page
from handwriting.text.hands import Style

import numpy as np
import pytest
from in_node import KINDS, find_program, make_network, make_reader
from playwright.sync_api import sync_playwright

TEXT = "six seven two"
STROKES = [[[20, 60], [40, 75], [60, 60]], [[70, 40], [70, 75]]]  # pixels
# Draws strokes on a canvas by pointer events, a sample every 10 ms.
DRAW = """
([id, strokes, type]) => {
  const canvas = document.getElementById(id), box = canvas.getBoundingClientRect();
  let time = 1000;
  const fire = (kind, [x, y]) => {
    const event = new PointerEvent(kind, {clientX: box.left + x, clientY: box.top + y,
      pointerId: 5, pointerType: type, pressure: kind === "pointerup" ? 0 : 0.3, bubbles: true});
    Object.defineProperty(event, "timeStamp", {value: time});
    time += 10;
    canvas.dispatchEvent(event);
  };
  for (const stroke of strokes) {
    fire("pointerdown", stroke[0]);
    for (const sample of stroke.slice(1)) fire("pointermove", sample);
    fire("pointerup", stroke.at(-1));
  }
}
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A page of two tiny networks, which write no letters, but end."""
    style = Style(np.array([[0.0, 0, 0], [30, 10, 1]]), "x")
    text, free = (make_network(**KINDS[kind])[1] for kind in ("text", "no text"))
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(build_page(text, make_reader()[1], free, {"Ann": style}), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def browser():
    program = find_program("chromium", "google-chrome", install="chromium")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])


@pytest.fixture
def open_page(browser, address):
    """A function that opens the page with a state in the link; at the end, the console is empty."""
    errors, contexts = [], []

    def open_state(state=f"speed=0&text={TEXT}", **options):
        contexts.append(browser.new_context(**{"bypass_csp": True, **options}))
        page = contexts[-1].new_page()
        page.on("console", lambda message: errors.append(message.text))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{address}#{state}")
        return page

    yield open_state
    for context in contexts:
        context.close()
    assert errors == []


def finish(page):
    page.wait_for_function("job === null")


def saved(page, button):
    """The bytes of the file that a button saves."""
    with page.expect_download() as download:
        page.click(button)
    return download.value.path().read_bytes()


def test_a_text_is_written_stopped_and_replayed(open_page):
    page = open_page(f"speed=12&text={TEXT} {TEXT}")
    page.wait_for_function("sheet.shown > 3")
    page.click("#stop")
    stopped = page.evaluate("countPoints()")
    assert page.inner_text("#write-status") == "Stopped." and page.is_disabled("#stop")
    assert page.evaluate("[sheet.shown, sheetStrokes().flat().length]") == [stopped, stopped]
    page.click("#more summary")
    assert page.is_disabled("#save-hand")  # no whole line
    page.select_option("#speed", "0")
    page.click("#start")
    finish(page)
    assert page.inner_text("#write-status").startswith("Written.")
    assert page.evaluate("byId('progress').value") == 1
    points = page.evaluate("sheet.lines[0].points")
    assert len(points) > stopped and not page.is_disabled("#save-hand")
    page.click("#replay")
    finish(page)
    assert page.evaluate("[sheet.shown, sheet.lines[0].points]") == [len(points), points]


def test_nothing_is_asked_of_a_network_and_nothing_may_be(open_page):
    page = open_page(f"speed=0&text={TEXT}", bypass_csp=False)
    while page.evaluate("job !== null"):
        page.wait_for_timeout(50)
    assert saved(page, "#save-svg").startswith(b"<?xml")
    assert page.evaluate("performance.getEntriesByType('resource').length") == 0
    policy = page.get_attribute("meta[http-equiv='Content-Security-Policy']", "content")
    assert policy.startswith("default-src 'none';") and "http" not in policy


def test_the_link_holds_all_that_the_drawing_depends_on(open_page):
    page = open_page(
        f"speed=0&seed=7&bias=0.4&pen=2&hand=Ann&ink=a3201c&paper=squared&wrap=10&text={TEXT}"
    )
    finish(page)
    lines = page.evaluate("sheet.lines.map((line) => [line.text, line.points])")
    assert [text for text, _ in lines] == ["six seven", "two"]
    again = open_page(page.url.split("#")[1])
    finish(again)
    assert again.evaluate("sheet.lines.map((line) => [line.text, line.points])") == lines
    chosen = "['pen', 'hand', 'ink', 'paper'].map((id) => chosen(byId(id)))"
    assert again.evaluate(chosen) == ["2", "Ann", "a3201c", "squared"]


def test_a_damaged_link_leaves_the_defaults(open_page):
    page = open_page(
        "speed=x&seed=-3&bias=high&wrap=1e9&hand=nobody&ink=%23000&paper=stone&look=2&text=six"
    )
    finish(page)
    names = ["speed", "bias", "hand", "ink", "paper", "look"]
    values = page.evaluate("(names) => names.map((id) => chosen(byId(id)))", names)
    assert values == ["300", "2", "", "16203a", "lined", 0]
    assert page.input_value("#wrap") == "40" and page.input_value("#seed") == "5"


def test_pictures_and_hands_are_saved(open_page):
    page = open_page("speed=0&wrap=10&look=1&ink=1f49b6&pen=2&text=six seven two")
    finish(page)
    svg = ET.fromstring(saved(page, "#save-svg"))
    path = svg.find(".//{*}path")
    assert svg.get("width").endswith("mm") and path.get("stroke") == "#1f49b6"
    assert path.get("d").count("M") == page.evaluate("sheetStrokes().length")
    assert saved(page, "#save-png").startswith(b"\x89PNG")
    hand = json.loads(saved(page, "#save-hand"))
    assert [line["text"] for line in hand["lines"]] == ["six seven", "two"]
    assert hand["lines"][1]["guide"] == {"baseline": 0, "x_height": 125}


def test_a_picture_is_copied(open_page):
    page = open_page(
        "speed=0&ink=a3201c&text=six", permissions=["clipboard-read", "clipboard-write"]
    )
    finish(page)
    page.click("#copy")
    page.wait_for_function("byId('write-status').textContent === 'Copied.'")
    inked = """
    async () => {
      const [item] = await navigator.clipboard.read(), blob = await item.getType("image/png");
      const image = await createImageBitmap(blob);
      const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
      context.drawImage(image, 0, 0);
      const {data} = context.getImageData(0, 0, image.width, image.height);
      const k = data.findIndex((value, k) => k % 4 === 1 && value < 50) - 1;
      return [...data.slice(k, k + 3)];
    }
    """
    assert page.evaluate(inked) == [0xA3, 0x20, 0x1C]
    page.evaluate("() => { navigator.clipboard.write = () => Promise.reject(new Error('no')); }")
    page.click("#copy")
    page.wait_for_function("byId('write-status').textContent.includes('save it as PNG')")


def test_looking_inside_shows_density_and_window_of_a_point(open_page):
    page = open_page(f"speed=0&look=1&text={TEXT}")
    finish(page)
    page.focus("#point")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#point-value").startswith("2 of ")
    marks = page.evaluate(
        "[...byId('window').children].map((span) => [span.textContent, span.style.background])"
    )
    assert "".join(character for character, _ in marks) == TEXT
    assert any("70%" in mark for _, mark in marks)
    assert "points a second" in page.inner_text("#rate")
    sizes = []
    for bias in ("0", "5"):  # the lens magnifies by the size of the densities
        page.goto(page.url.split("#")[0] + f"#speed=0&look=1&bias={bias}&text={TEXT}")
        page.wait_for_function(f"job === null && sheet.bias === {bias}")
        largest = """
        [byId("lens").viewBox.baseVal.width,
          Math.max(...[...byId("lens").querySelectorAll("ellipse")].map((e) => e.rx.baseVal.value))]
        """
        sizes.append(page.evaluate(largest))
    (wide, loose), (narrow, tight) = sizes
    assert wide > 2 * narrow and min(loose / wide, tight / narrow) > 1.5 / 240  # pixels


@pytest.mark.parametrize(
    "text", ["<script>window.hit = 1</script>", "😀", "שלום", "x" * 10_000, "   ", "x\n" * 101]
)
def test_hostile_texts_are_refused(open_page, text):
    page = open_page("speed=0&text=six")
    finish(page)
    page.fill("#text", text)
    page.click("#start")
    refused = ("Cannot be written", "at most 2000", "At most 100 lines", "no text yet")
    said = page.inner_text("#write-status") or page.inner_text("#unknown")  # once, not twice
    assert any(words in said for words in refused)
    assert page.evaluate("window.hit === undefined && job === null")


def test_what_can_be_written_is_and_gaps_are_left_for_the_rest(open_page):
    page = open_page("speed=0&text=six")
    finish(page)
    page.fill("#text", "s\u00efx \u0416\u0416 \u20ac\u0001 tw\u00f8\ufb01")
    assert page.inner_text("#unknown") == "Cannot be written: \u0416 U+0001"
    page.click("#plain")
    assert page.is_hidden("#unknown") and page.is_hidden("#plain")
    finish(page)
    text = "s\u00efx \u2003 \u20ac\u2003 tw\u00f8fi"
    assert page.evaluate("sheet.lines.map((line) => line.text)") == [text]
    note = "Typographic characters are plain ones: \ufb01 as fi."
    assert page.inner_text("#write-status").endswith(note)
    page.click("#more summary")
    (line,) = json.loads(saved(page, "#save-hand"))["lines"]
    assert line["text"] == text.replace("\u2003", " ")


def test_a_line_is_recorded_kept_and_written_with(open_page):
    page = open_page("speed=0&text=six")
    finish(page)
    page.click("#to-record")
    sentence = page.inner_text("#sentence")
    page.evaluate(DRAW, ["record-pad", [*STROKES, STROKES[0]], "pen"])
    page.click("#record-undo")
    page.click("#keep")
    words = (
        "Sentence 2 of 30; 1 kept of the 12 that a hand needs. "
        "Look at the last line again: its length does not fit"
    )
    assert page.inner_text("#record-status").startswith(words)
    page.click("#skip")
    (line,) = json.loads(saved(page, "#record-save"))["lines"]
    assert line["text"] == sentence and line["guide"]["x_height"] > 0
    assert [len(stroke) for stroke in line["strokes"]] == [3, 2]
    first, last = line["strokes"][0][0], line["strokes"][1][1]
    assert [round(v, 1) for v in first] == [20, 60, 0, 0.3] and last[2] == 50
    page.reload()
    page.click("#to-record")
    words = "Sentence 3 of 30; 1 kept of the 12 that a hand needs."
    assert page.inner_text("#record-status") == words
    page.click("#to-write")
    page.check("#hand input[value=recorded]", force=True)
    finish(page)
    assert page.inner_text("#write-status").startswith("Written.")


def test_kept_lines_are_shown_and_written_again_and_twelve_make_a_hand(open_page):
    page = open_page("speed=0&text=six")
    finish(page)
    page.click("#to-record")
    for number in range(12):
        assert page.is_hidden("#ready") and page.locator("#kept button").count() == number
        page.evaluate(DRAW, ["record-pad", STROKES, "pen"])
        page.click("#keep")
    second = page.evaluate("SENTENCES[1]")
    page.click(f"#kept button[aria-label='Write again: {second}']")
    assert page.inner_text("#sentence") == second
    page.evaluate(DRAW, ["record-pad", STROKES[:1], "pen"])
    page.click("#keep")
    lines = page.evaluate("recording.lines.map((line) => [line.text, line.strokes.length])")
    assert [text for text, _ in lines] == page.evaluate("SENTENCES.slice(0, 12)")
    assert [count for _, count in lines] == [2, 1] + [2] * 10
    assert page.inner_text("#sentence") == page.evaluate("SENTENCES[12]")
    assert page.get_attribute("#recorded", "max") == "12"
    page.click("#ready")
    finish(page)
    assert page.is_visible("#sheet") and page.evaluate("chosen(byId('hand'))") == "recorded"
    assert page.inner_text("#write-status").startswith("Written.")


def test_a_kept_line_is_lost_only_to_a_better_one(open_page, tmp_path):
    page, asked, answers = open_page("speed=0&text=six"), [], iter([False, True])

    def answer(dialog):
        asked.append(dialog.message)
        dialog.accept() if next(answers) else dialog.dismiss()

    page.on("dialog", answer)
    finish(page)
    page.click("#to-record")
    page.evaluate(DRAW, ["record-pad", STROKES, "pen"])
    page.click("#keep")
    page.click("#previous")
    words = "Sentence 1 of 30; 1 kept of the 12 that a hand needs, this one, too."
    assert page.inner_text("#record-status") == words
    page.evaluate(DRAW, ["record-pad", STROKES[:1], "pen"])
    page.click("#keep")
    (line,) = json.loads(saved(page, "#record-save"))["lines"]
    assert len(line["strokes"]) == 1

    hand = {"format": "hand", "version": 1, "lines": [{**line, "text": "six"}]}
    (tmp_path / "hand.json").write_text(json.dumps(hand))
    for kept in (line["text"], "six"):  # the first time it is not to replace what is there
        page.set_input_files("#record-file", tmp_path / "hand.json")
        page.wait_for_function("byId('record-file').value === ''")
        assert page.evaluate("recording.lines.map((line) => line.text)") == [kept]
    assert len(asked) == 2 and asked[0].startswith("Replace the lines recorded here")
    hand["lines"][0]["text"] = " "
    (tmp_path / "hand.json").write_text(json.dumps(hand))
    page.set_input_files("#record-file", tmp_path / "hand.json")
    page.wait_for_function("byId('record-file').value === ''")
    assert page.inner_text("#record-status").startswith("Line 1 in this")
    page.evaluate("() => { Storage.prototype.setItem = () => { throw new Error('full'); }; }")
    page.click("#skip")
    assert "This browser keeps nothing" in page.inner_text("#record-status")


def test_sentences_of_ones_own_are_copied_in_any_language_and_stay(open_page):
    page = open_page("speed=0&text=six")
    finish(page)
    page.click("#to-record")
    page.click("#own summary")
    page.fill("#sentences", " Gru\u0308\u00dfe,\u00a0du! \n\n\u3042\u308a\u304c\u3068\u3046\n")
    page.locator("#sentences").blur()
    assert page.inner_text("#sentence") == "Gr\u00fc\u00dfe, du!"
    page.evaluate(DRAW, ["record-pad", STROKES, "pen"])
    page.click("#keep")
    assert page.inner_text("#sentence") == "\u3042\u308a\u304c\u3068\u3046"
    assert page.inner_text("#record-status").startswith("Sentence 2 of 2; 1 kept of the 12")
    page.reload()
    page.click("#to-record")
    assert page.inner_text("#sentence") == "\u3042\u308a\u304c\u3068\u3046"
    (line,) = json.loads(saved(page, "#record-save"))["lines"]
    assert line["text"] == "Gr\u00fc\u00dfe, du!"
    page.fill("#sentences", "")
    page.locator("#sentences").blur()
    assert page.inner_text("#sentence") == page.evaluate("SENTENCES[0]")
    page.click("#to-write")
    page.check("#hand input[value=recorded]", force=True)
    finish(page)
    assert page.inner_text("#write-status").startswith("Written.")


def test_a_stroke_that_is_undone_while_it_is_drawn_does_not_go_on(open_page):
    page = open_page("speed=0&text=six")
    page.click("#to-record")
    page.evaluate(DRAW, ["record-pad", STROKES, "pen"])
    fire = (
        "(kind) => byId('record-pad').dispatchEvent(new PointerEvent(kind, "
        "{pointerId: 5, pointerType: 'pen', clientX: 99, clientY: 300}))"
    )
    page.evaluate(fire, "pointerdown")
    page.click("#record-undo")
    for kind in ("pointermove", "pointerup"):
        page.evaluate(fire, kind)
    assert page.evaluate("recording.pad.strokes.map((stroke) => stroke.length)") == [3, 2]


def test_a_touch_is_ignored_while_a_pen_is_down(open_page):
    page = open_page("speed=0&text=six")
    page.click("#to-record")
    touch = (
        "(kind, type, id) => byId('record-pad').dispatchEvent(new PointerEvent(kind, "
        "{pointerId: id, pointerType: type, clientX: 99, clientY: 300}))"
    )
    fire = f"(events) => events.forEach((event) => ({touch})(...event))"
    page.evaluate(fire, [["pointerdown", "pen", 1], ["pointerdown", "touch", 2]])
    page.evaluate(fire, [["pointermove", "touch", 2], ["pointermove", "pen", 1]])
    page.evaluate(fire, [["pointerup", "touch", 2], ["pointerup", "pen", 1]])
    assert page.evaluate("recording.pad.strokes.map((stroke) => stroke.length)") == [2]
    # The hand that holds the pen touches first: its stroke goes as the pen comes.
    page.evaluate(fire, [["pointerdown", "touch", 2], ["pointerdown", "pen", 1]])
    page.evaluate(fire, [["pointermove", "touch", 2], ["pointerup", "pen", 1]])
    assert page.evaluate("recording.pad.strokes.map((stroke) => stroke.length)") == [2, 1]


def test_a_scribble_goes_on_each_time_differently(open_page):
    page = open_page("speed=0&text=six")
    page.click("#to-scribble")
    page.evaluate(DRAW, ["scribble-pad", STROKES, "mouse"])
    ends = []
    for _ in range(2):
        page.click("#scribble-go")
        page.wait_for_function("scribble.pad.added.flat().length > 20")
        ends.append(page.evaluate("scribble.pad.added.flat().slice(0, 10)"))
        page.click("#to-scribble")  # stops it
    assert ends[0] != ends[1]
    page.click("#scribble-clear")
    assert page.evaluate("[scribble.pad.strokes, scribble.pad.added]") == [[], []]


def test_all_controls_have_labels_and_answer_to_keys(open_page):
    page = open_page("speed=0&text=six")
    finish(page)
    unnamed = """
    [...document.querySelectorAll("button, input, select, textarea, canvas")].filter((element) =>
      !(element.labels?.length || element.ariaLabel || element.textContent.trim()))
      .map((element) => element.id)
    """
    assert page.evaluate(unnamed) == []
    page.focus("#text")
    page.keyboard.press("Control+A")
    page.keyboard.type("two")
    reached = []
    while "start" not in reached:
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
        assert len(reached) < 10
    assert reached == ["start"]
    for keys, text in (("Enter", "two"), ("Control+Enter", "six"), ("Meta+Enter", "tw")):
        if text != "two":
            page.fill("#text", text)
        page.keyboard.press(keys)
        finish(page)
        assert page.evaluate("sheet.lines[0].text") == text
    reached = set()
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.name"))
    assert {"another", "replay", "hand", "bias", "pen", "paper", "ink", "save-svg"} <= reached


def test_a_changed_hand_or_legibility_draws_at_once_and_another_seed_another_drawing(open_page):
    page = open_page(f"speed=0&text={TEXT}")
    finish(page)
    drawings = [page.evaluate("sheet.lines[0].points")]

    def drawn():
        finish(page)
        drawings.append(page.evaluate("sheet.lines[0].points"))
        assert drawings[-1] not in drawings[:-1]

    page.locator("#hand input").first.focus()
    page.keyboard.press("ArrowRight")
    drawn()
    assert page.evaluate("chosen(byId('hand'))") == "Ann" and "hand=Ann" in page.url
    page.focus("#bias")
    page.keyboard.press("ArrowLeft")
    drawn()
    assert page.evaluate("sheet.bias") == 1.9
    page.click("#another")
    drawn()
    page.check("#ink input[value='a3201c']", force=True)
    assert page.get_attribute("#writing", "stroke") == "#a3201c" and "ink=a3201c" in page.url
    page.fill("#pen", "2")
    assert page.get_attribute("#writing", "stroke-width") == "20"
    rules = []
    for paper in ("plain", "lined", "squared"):
        page.select_option("#paper", paper)
        rules.append(len(page.get_attribute("#sheet .rules", "d")))
    assert rules[0] == 0 < rules[1] < rules[2]
    page.fill("#text", "two")  # what was said of the other text is not said of this one
    assert page.inner_text("#write-status") == ""


def test_a_pen_goes_on_where_it_would_be_when_the_page_was_out_of_sight(open_page):
    page = open_page(f"speed=12&text={TEXT} {TEXT}")
    page.wait_for_function("job.done")  # the Worker waits for no pen
    total, shown = page.evaluate("[job.total, sheet.shown]")
    assert shown < total and page.inner_text("#write-status") == "Writing line 1 of 1"
    page.evaluate(
        "() => { const ask = requestAnimationFrame;"
        "requestAnimationFrame = (frame) => ask((now) => frame(now + 1e6)); }"
    )
    finish(page)
    assert page.evaluate("sheet.shown") == total


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_and_its_colours_have_contrast(open_page, scheme):
    size = {"width": 360, "height": 740}
    page = open_page(f"speed=0&look=1&text={TEXT}", viewport=size, color_scheme=scheme)
    finish(page)
    for part in ("write", "scribble", "record"):
        page.click(f"#to-{part}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
    colors = "getComputedStyle(document.body)"
    ink, paper = (
        np.array(page.evaluate(f"{colors}.{name}.match(/\\d+/g).map(Number)"))[:3]
        for name in ("color", "backgroundColor")
    )
    luminances = sorted((rgb / 255) ** 2.2 @ [0.2126, 0.7152, 0.0722] for rgb in (ink, paper))
    assert (luminances[1] + 0.05) / (luminances[0] + 0.05) > 7
    assert (paper.mean() < 128) == (scheme == "dark")
