"""Write ink of any format that is read as the database's archives:
`python -m handwriting.convert FILE... --out FOLDER`.
"""

import os

from handwriting.files import UserError
from handwriting.flags import Parser, errors_as_sentences, file_name, say
from handwriting.ink.database import ARCHIVE
from handwriting.ink.export import write_line_strokes
from handwriting.ink.formats import READERS, read_ink
from handwriting.ink.recording import find_recordings


def convert(paths, folder):
    """Write the lines of these files, and the texts that there are, to the database's archives in a
    folder, which is made. Returns the texts, None for a line without. Raises UserError.
    """
    if os.path.isdir(folder) and (found := find_recordings(folder)):
        what = f"{os.path.join(folder, found[0])} is read from there as it is"
        raise UserError(f"{what}, and would count twice; name another folder with --out.")
    lines, texts = [], []
    for path in paths:
        more, more_texts = read_ink(path)
        lines, texts = lines + more, texts + more_texts
    target = os.path.join(folder, ARCHIVE)
    if os.path.exists(target):
        raise UserError(f"{target} is there already; name another folder with --out.")
    os.makedirs(folder, exist_ok=True)
    write_line_strokes(lines, target, texts)
    return texts


def main(argv=None):
    with errors_as_sentences("handwriting.convert"):
        about = (
            "Write ink as the database's archives, a line of writing each: recordings of the page "
            "(.json), lines of the database (.xml), points (.npy), InkML, as of OneNote (.inkml), "
            "drawings (.svg), notes of Xournal++ and Xournal (.xopp, .xoj), UNIPEN's files (.dat, "
            ".unp, .unipen, .tra, .tes). Pages are divided into lines, and ruled lines left out."
        )
        parser = Parser("python -m handwriting.convert", about)
        parser.add_argument("files", nargs="+", metavar="FILE", type=file_name,
            help=", ".join(READERS))
        parser.add_argument("--out", required=True, metavar="FOLDER", type=file_name,
            help="where lineStrokes-all.tar.gz is written, and ascii-all.tar.gz of lines with "
                 "texts: of a recording, of InkML's annotations of a type such as truth, SVG's "
                 "title, transcriptions beside lines of the database")
        args = parser.parse_args(argv)
        texts = convert(args.files, args.out)
        number, bare = len(texts), texts.count(None)
        without = f", {bare} without a text," if 0 < bare < number else ""
        say(f"Wrote {number} line{'s' * (number != 1)}{without} to {args.out}")


if __name__ == "__main__":
    main()
