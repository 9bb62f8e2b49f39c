"""The cache of parsed lines: a pickle, the 2015 program's own file, of which nothing is run, and
beside it an index with what the pickle does not tell: names, texts, the source's fingerprint.
"""

import contextlib
import hashlib
import io
import itertools
import json
import os
import pickle
import warnings

from handwriting.files import UserError, atomic_write
from handwriting.ink.database import (
    PENS,
    Lines,
    find_sources,
    fingerprint,
    form_names,
    read_texts,
)

import numpy as np

CACHE, INDEX = "strokes_training_data.cpkl", "strokes_training_data.json"
MISREAD = "strokes_misread.json"


def dump_arrays(arrays):
    """A pickle, protocol 2, of int16 arrays, which NumPy 1 (so the 2015 program) and 2 read."""
    stream = pickle.dumps([np.ascontiguousarray(array, "<i2") for array in arrays], protocol=2)
    # The first thing named is the maker of the first array; pickle names it once.
    new, old = (b"cnumpy.%s.multiarray\n_reconstruct\n" % name for name in (b"_core", b"core"))
    return stream.replace(new, old, 1)


ALLOWED = {"numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"}
ALLOWED |= {"numpy.ndarray", "numpy.dtype", "_codecs.encode", "__builtin__.bytes"}


class Recorded:
    """What a pickle says of an object: maker, arguments, state. Nothing is made or called."""

    def __init__(self, maker, *arguments):
        self.maker, self.arguments, self.state = maker, arguments, None

    def __setstate__(self, state):
        self.state = state


# The unpickler in Python: its memo is a dict, where one damaged byte can claim no gigabytes.
class Unpickler(pickle._Unpickler):
    """Puts a Recorded in the place of each object that a list of arrays needs; refuses others."""

    def find_class(self, module, name):
        if f"{module}.{name}" not in ALLOWED:
            raise ValueError(f"it names {module}.{name}")
        return lambda *arguments: Recorded(name, *arguments)


def to_array(recorded):
    """The int16 [n, 3] array that a Recorded describes, or one of the errors of `load_arrays`."""
    if recorded.maker != "_reconstruct":
        raise ValueError("it holds something other than arrays")
    _, shape, dtype, fortran, content = recorded.state
    order = dtype.state[1]
    if dtype.maker != "dtype" or dtype.arguments[0] != "i2" or order not in ("<", ">"):
        raise ValueError("it holds arrays that are not int16")
    if isinstance(content, Recorded):  # encode(text, "latin1"), or bytes() of an empty array
        content = content.arguments[0] if content.arguments else ""
    content = content.encode("latin1")
    if shape != (len(content) // 6, 3) or len(content) % 6 or fortran:
        raise ValueError("it holds arrays that are not [n, 3]")
    return np.frombuffer(content, order + "i2").reshape(-1, 3).astype(np.int16)


def load_arrays(stream):
    """The int16 [n, 3] arrays of a cache, ours or the 2015 program's; ValueError says why not."""
    try:
        unpickler = Unpickler(io.BytesIO(stream), fix_imports=False, encoding="latin1")
        arrays = [to_array(recorded) for recorded in unpickler.load()]
    except ValueError as error:
        raise ValueError(f"{error}") from None
    except Exception as error:  # a damaged pickle fails in any way
        raise ValueError(f"it is no list of arrays: {error}") from None
    if not arrays:
        raise ValueError("it is empty")
    return arrays


def load_index(path):
    """The dict in an index, empty if there is none."""
    try:
        with open(path, "rb") as file:
            return dict(json.load(file))
    except (OSError, ValueError, TypeError, RecursionError):
        return {}


def read_index(path, stream):
    """(names, fingerprint, damaged files, notes) of this cache; None if no index tells of it."""
    index = load_index(path)
    try:
        names, notes = index["names"], index.get("notes", [])
        strings = isinstance(names, list) and all(isinstance(text, str) for text in names + notes)
        if index["cache"] == hashlib.sha256(stream).hexdigest() and strings:
            return names, index["source"], int(index["damaged"]), notes
    except (ValueError, LookupError, TypeError):
        pass
    return None


def read_cache(data_dir, source):
    """The Lines of the cache; None if there is none, or its source has another fingerprint now.

    source: that fingerprint, or None if there is nothing to parse. Raises UserError.
    """
    path = os.path.join(data_dir, CACHE)
    if not os.path.lexists(path):
        return None
    try:
        with open(path, "rb") as file:
            stream = file.read()
        index = read_index(os.path.join(data_dir, INDEX), stream)
        if index and source and index[1] != source:
            return None
        raw_data = load_arrays(stream)
    except (OSError, ValueError) as error:
        reason = f"{path} cannot be used ({error}); delete it and the XML files are parsed anew."
        raise UserError(reason) from None
    if index and len(index[0]) == len(raw_data):
        names, _, num_damaged, notes = index
        return Lines(raw_data, names, num_damaged, notes)
    note = (
        f"{path} has no {INDEX} of its own beside it, so its {len(raw_data)} lines cannot be told "
        "apart by form: every 20th line validates; delete it to have the XML files parsed anew."
    )
    return Lines(raw_data, None, 0, [note])


def write_cache(data_dir, source, lines):
    """Write the Lines parsed from a source with this fingerprint; a failure is a warning."""
    stream = dump_arrays(lines.raw_data)
    index = {"cache": hashlib.sha256(stream).hexdigest(), "source": source}
    index |= {"damaged": lines.num_damaged, "notes": lines.notes, "names": lines.names}
    index |= {"texts": lines.texts} if lines.texts else {}
    try:
        # The cache first: a crash in between leaves a cache that the old index does not fit.
        for name, content in ((CACHE, stream), (INDEX, json.dumps(index, indent=0).encode())):
            with atomic_write(os.path.join(data_dir, name)) as file:
                file.write(content)
    except OSError as error:
        sentence = f"No cache was written to {data_dir} ({error}); the next run parses anew."
        warnings.warn(sentence, stacklevel=2)


def add_texts(data_dir, lines):
    """These Lines with their texts, from the cache's index, or else read anew and kept there.

    Where there are transcriptions, a note tells which forms have none. Raises UserError if they
    cannot be read.
    """
    if lines.names is None:
        return lines
    sources, path = find_sources(data_dir, ".txt"), os.path.join(data_dir, INDEX)
    source, index = fingerprint(sources[:1], ".txt") if sources else None, load_index(path)
    ours = index.get("names") == lines.names
    texts = lines.texts or (index.get("texts") if ours else None)
    good = isinstance(texts, list) and all(isinstance(text, str | None) for text in texts)
    good = good and len(texts) == len(lines.names)
    texts = texts if good else [None] * len(lines.names)
    if sources and not (ours and good and source == index.get("texts_source")):
        # Those of UNIPEN come with its lines.
        texts = [
            text if read is None and name.startswith(PENS) else read
            for name, text, read in zip(
                lines.names, texts, read_texts(sources[0], lines.names), strict=True
            )
        ]
        if ours:
            index |= {"texts_source": source, "texts": texts}
            # If this fails they are read again the next time, in a moment.
            with contextlib.suppress(OSError), atomic_write(path) as file:
                file.write(json.dumps(index, indent=0).encode())
    if not (sources or any(texts)):
        return lines._replace(texts=texts)
    forms = form_names(lines.names)
    bare = sorted(set(forms) - set(itertools.compress(forms, texts)))
    shown = ", ".join(bare[:5]) + (", ..." if len(bare) > 5 else "")
    note = f"{len(bare)} of {len(set(forms))} forms have no texts, because the transcriptions in "
    note += f"{data_dir} do not have one line of text for each of their lines: {shown}."
    return lines._replace(texts=texts, notes=lines.notes + [note] * bool(bare))


def read_misread(data_dir):
    """The names of lines whose ink does not say their text, as handwriting.train_reader found."""
    try:
        with open(os.path.join(data_dir, MISREAD), "rb") as file:
            return set(map(str, json.load(file)))
    except (OSError, ValueError, TypeError):
        return set()
