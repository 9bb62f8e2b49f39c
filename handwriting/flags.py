"""Types and checks of flags that the scripts share, and the one place where they print."""

import argparse
import contextlib
import difflib
import math
import os
import sys
import warnings

from handwriting.files import UserError

from tqdm import tqdm


def number(kind, low, high=math.inf, open_low=False):
    """An argparse type: an int or float from low (above it, if open_low) to high."""

    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        above = low < value if open_low else low <= value
        if not above or not value <= high or math.isinf(value):
            name = "a whole number" if kind is int else "a number"
            limit = f"above {low}" if open_low else f"of at least {low}"
            limit += f" and at most {high}" if high < math.inf else ""
            raise argparse.ArgumentTypeError(f"{text!r} is not {name} {limit}")
        return value

    return parse


def file_name(text):
    """An argparse type: the name of a file or folder; an unset shell variable gives none."""
    if not text:
        raise argparse.ArgumentTypeError("'' is no name of a file or folder")
    return text


def one_line(text):
    """The text with control characters, which a file's name may hold, as Python writes them."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


class Parser(argparse.ArgumentParser):
    """A parser whose help shows defaults, and whose errors are one sentence.

    advice: on words that no flag stands before.
    """

    def __init__(self, prog, description, advice=""):
        formatter = argparse.ArgumentDefaultsHelpFormatter
        super().__init__(prog, None, description, formatter_class=formatter, allow_abbrev=False)
        self.advice = advice

    def error(self, message):
        say(f"{self.prog}: error: {one_line(message)}", sys.stderr)
        sys.exit(2)

    def parse_args(self, args=None, namespace=None):
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            name = unknown[0].partition("=")[0]
            near = difflib.get_close_matches(name, self._option_string_actions, 1)
            advice = "" if name.startswith("-") else self.advice
            advice = f"did you mean {near[0]}?" if near else advice
            message = f"unrecognized arguments: {' '.join(unknown)}"
            self.error(f"{message}; {advice}" if advice else message)
        return parsed

    def parse_given(self, argv):
        """All flags, and a dict of those that the command line gives."""
        args = self.parse_args(argv)
        unset = object()  # argparse gives defaults only to what the namespace lacks
        given = vars(self.parse_args(argv, argparse.Namespace(**dict.fromkeys(vars(args), unset))))
        return args, {name: value for name, value in given.items() if value is not unset}


def check_output(name, flag, ending=""):
    """Raise UserError unless a file of this name, which has this ending, can be made, before work
    is done for it."""
    if not name.lower().endswith(ending):
        raise UserError(f"{flag} {name} does not end in {ending}, which it will be; name it so")
    folder = os.path.dirname(name) or "."
    if not os.path.isdir(folder):
        raise UserError(f"{flag} {name} is in a folder that does not exist; make it")
    if os.path.isdir(name) or not os.access(folder, os.W_OK):
        raise UserError(f"{flag} {name} cannot be written; name another file")


def progress_bar(what, total, unit):
    """A bar for work that takes over a second, on a terminal alone: so many units of a total are
    done, how long it took and how long it may take yet."""
    return tqdm(
        total=total, desc=what, unit=unit, delay=1, leave=False, disable=None, dynamic_ncols=True,
        bar_format="{desc}: {n:.0f} of {total:.0f} {unit} |{bar}| {elapsed}, {remaining} left",
    )


def say(text, stream=None):
    """Print a line at once. Where nobody reads any more (`| head -1`) work goes on without it."""
    stream = stream or sys.stdout
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), stream.fileno())


@contextlib.contextmanager
def errors_as_sentences(program):
    """Print warnings and errors of the user as one sentence each; an error ends with status 2."""

    def complain(text):
        say(f"{program}: {one_line(text)}", sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: complain(f"warning: {message}")
        try:
            yield
        except KeyboardInterrupt:
            complain("stopped")
            sys.exit(130)
        except UserError as error:
            complain(f"error: {error}")
            sys.exit(2)
        except OSError as error:
            if not error.filename:
                raise
            complain(f"error: {error.filename} cannot be written or read ({error.strerror})")
            sys.exit(2)
        except Exception as error:
            no_memory = isinstance(error, MemoryError)
            if not no_memory and type(error).__name__ != "ResourceExhaustedError":
                raise
            complain("error: not enough memory; make batches, samples or the network smaller")
            sys.exit(2)
