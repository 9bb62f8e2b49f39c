"""The texts that sample.py is asked for: spelt with what the network knows, drawn, and what is told
of them.
"""

import itertools
import sys

from handwriting.files import UserError
from handwriting.flags import one_line, progress_bar, say
from handwriting.ink.export import FORM_LINES
from handwriting.text.lines import find_problem
from handwriting.text.spelling import leave_gaps, name_unknown, plain, plain_note

SHOWN = 10  # words that a warning names


def spell_texts(args, alphabet, style):
    """Give args the texts as the network writes them (spelling.py), and tell of characters that
    are written as others. Raises UserError for what cannot be written, with --plain only where
    nothing is left.
    """
    where = args.text_file or "the text"
    problems = [name_unknown(args.lines, alphabet, where)]
    if style:
        problems.append(name_unknown([style.text], alphabet, f"the text of --style {args.style}"))
    problems = list(filter(None, problems))
    if problems and not args.plain:
        raise UserError(f"{problems[0]}; --plain writes the rest and leaves gaps")

    def spell(texts):
        texts = [leave_gaps(plain(text, alphabet), alphabet).strip() for text in texts]
        return [text for text in texts if text]

    args.texts = spell(args.texts)
    if not args.texts:
        known = f"the network has learnt {alphabet.strip()}"
        raise UserError(f"{where} has nothing that can be written; {known}")
    if args.paper:
        args.paragraphs = [p._replace(pieces=spell(p.pieces)) for p in args.paragraphs]
    for problem in problems:
        say(one_line(f"sample.py: warning: {problem}; gaps are left"), sys.stderr)
    if note := plain_note("".join(args.lines), alphabet):
        say(note)


def draw_texts(args, model, sess, style):
    """The Lines of all texts: each one's samples, of which the k-th have one hand in common, but
    for --line_strokes those of one form. style: a Style, or None.
    """
    from handwriting.text.writing import BIAS, write_lines

    bias, limit = BIAS if args.bias is None else args.bias, args.sample_length or None
    size = FORM_LINES if args.line_strokes and not style else len(args.texts)
    blocks = [args.texts[start : start + size] for start in range(0, len(args.texts), size)]
    drawn, total = [], args.num_samples * len(args.texts)
    with progress_bar("writing", total, "lines") as bar:
        for _ in range(args.num_samples):
            drawn.append([])
            for block in blocks:
                start = sum(map(len, drawn))
                drawn[-1] += write_lines(
                    model, sess, block, bias, style, limit=limit,
                    progress=lambda done, start=start: bar.update(start + done - bar.n),
                )  # fmt: skip
    told = limit or (style and find_problem(style.text, style.strokes))  # by load_style
    tell_problems(list(itertools.chain(*drawn)), told)
    return list(itertools.chain(*(drawn if args.line_strokes else zip(*drawn, strict=True))))


def tell_problems(lines, told):
    """Warn of Lines that may be hard to read; told: those that went wrong are expected to."""
    for line in lines:
        if line.problem and not told:
            words = f"this may be hard to read, since {line.problem}: {line.text[:60]}"
            say(one_line(f"sample.py: warning: {words}"), sys.stderr)
    if misread := list(dict.fromkeys(word for line in lines for word in line.misread)):
        more = f" and {len(misread) - SHOWN} others" if len(misread) > SHOWN else ""
        what = "these words may be hard to read; another --seed draws them anew"
        words = f"sample.py: warning: {what}: {' '.join(misread[:SHOWN])}{more}"
        say(one_line(words), sys.stderr)
