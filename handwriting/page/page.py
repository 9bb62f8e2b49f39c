"""The page that writes: one HTML file with the program, the weights and the styles in it.

page.html and its scripts stand beside this file. The page needs no server, no network and no
library.
"""

import base64
import json
import re
from pathlib import Path

from handwriting.files import UserError, atomic_write
from handwriting.network.checkpoint import NETWORK, PRETRAINED, TEXT, read_config
from handwriting.text.hands import read_styles
from handwriting.text.reader import FOLDER as READER
from handwriting.text.reader import load_reader
from model import restore

import numpy as np
from safetensors.numpy import save

FOLDER = Path(__file__).parent


def pack_weights(variables, config):
    """The variables, name -> array or Keras variable, as a safetensors file of float16 in base64,
    which engine.js reads; config, a dict that says what network they are of, stands in its
    metadata.
    """
    tensors = {name: np.asarray(value, np.float16, order="C") for name, value in variables.items()}
    return base64.b64encode(save(tensors, {"config": json.dumps(config)})).decode()


def pack_run(folder):
    """`pack_weights` of the run in `folder`. Raises UserError if the page cannot run it."""
    config = read_config(folder)
    if config["model"] != "lstm":
        raise UserError(f"{folder} holds a network of {config['model']} layers; a page runs lstm")
    return pack_weights(restore(folder).variables, {name: config[name] for name in NETWORK})


def pack_reader(reader):
    """`pack_weights` of a Reader."""
    return pack_weights(reader.variables, {"alphabet": reader.alphabet})


def build_page(text_weights, reader_weights, scribble_weights, styles):
    """The page, a str: packed weights of a network with text, of a reader, of a network without
    text, and styles, name -> Style.
    """
    known = {
        name: {"text": style.text, "strokes": style.strokes.tolist()}
        for name, style in styles.items()
    }
    contents = {
        "text-weights": text_weights,
        "reader-weights": reader_weights,
        "scribble-weights": scribble_weights,
        "styles": json.dumps(known).replace("<", "\\u003c"),  # no end of the script in a text
    }
    page = (FOLDER / "page.html").read_text(encoding="utf-8")
    for name, content in contents.items():
        start = page.index(">", page.index(f'<script id="{name}"')) + 1
        page = page[:start] + content + page[page.index("</script>", start) :]
    return re.sub(r'<script src="([^"]+)">', inline_script, page)


def inline_script(match):
    """The content of the script that a tag, a match of its name, asks for, behind a tag; a table
    becomes the constant TABLES."""
    content = (FOLDER / match[1]).read_text(encoding="utf-8")
    return "<script>\n" + (f"const TABLES = {content};" if match[1].endswith(".json") else content)


def write_page(path, folder):
    """Write the page of the run in `folder`: it writes texts, or scribbles, if it has no alphabet;
    the weights that come with the program do the other. Raises UserError.
    """
    text, scribble = (folder, PRETRAINED) if read_config(folder)["alphabet"] else (TEXT, folder)
    reader = pack_reader(load_reader(READER))
    page = build_page(pack_run(text), reader, pack_run(scribble), read_styles())
    with atomic_write(path) as file:
        file.write(page.encode())
