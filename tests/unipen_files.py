"""Made-up UNIPEN files: words of loops and bars, by writers of different sizes."""

import numpy as np

WORDS = ("nose", "one", "seen", "moon")
CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,;:!?$%@"


def component(points):
    rows = "\n".join(f"{x} {y}" for x, y in np.rint(points).astype(int).tolist())
    return f".PEN_DOWN\n{rows}\n.PEN_UP\n"


def loop(x, y, size, points=20):
    """A round letter whose lower left corner is x, y; y points up."""
    turn = np.linspace(0, 2 * np.pi, points)
    return np.stack([x + size / 2 * (1 + np.cos(turn)), y + size / 2 * (1 + np.sin(turn))], axis=1)


def labelled(k, y, size=100):
    """A word of loops, the k-th on its line, as components, and its text."""
    word = WORDS[k % len(WORDS)]
    x = 40 + k % 8 * 7 * size
    return "".join(component(loop(x + 1.1 * size * i, y, size)) for i in range(len(word))), word


def sheet(folder, writers=3, files=2, maker="mkr"):
    """Write a folder as UNIPEN's: words of writers in data/7, isolated characters in data/1a, and
    their ink in include."""
    for writer in range(writers):
        size = 60 + 10 * (writer % 5)
        for number in range(files):
            name = f"{maker}/data/w{writer}-{number}.dat"
            ink, labels, count = f".WRITER_ID writer{writer}\n", "", 0
            for k in range(40):
                strokes, word = labelled(k, 9000 - 4 * size * (k // 8), size)
                last = count + strokes.count("PEN_DOWN") - 1
                labels += f'.SEGMENT WORD {count}-{last} OK "{word}"\n'
                ink, count = ink + strokes, last + 1
            write(folder / "include" / name, ink)
            target = folder / "data" / "7" / maker / f"w{writer}-{number}.dat"
            write(target, f".INCLUDE {name}\n{labels}")
        ink, labels = f".WRITER_ID writer{writer}\n", ""
        for k, character in enumerate(CHARACTERS):
            ink += component(loop(2 * size * k, 0, size if character in "acemnorsuvwxz" else 150))
            labels += f'.SEGMENT CHARACTER {k} ? "{character}"\n'
        write(folder / "include" / f"{maker}/data/i{writer}.dat", ink)
        head = f".INCLUDE {maker}/data/i{writer}.dat\n"
        write(folder / "data" / "1a" / maker / f"i{writer}.dat", head + labels)
    return folder


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
