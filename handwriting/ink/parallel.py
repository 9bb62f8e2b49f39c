"""Work in several processes, each a new interpreter: also from IPython, and where TensorFlow's
threads make forks unsafe."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHILD = "from handwriting.ink.parallel import work; work()"
LARGE = 1 << 20  # of a size in all, from which more processes are worth their start


def share(sizes, number):
    """Lists of the keys of `sizes` (key -> size), at most `number`, of about the same total."""
    parts = [[] for _ in range(number)]
    for key in sorted(sizes, key=lambda key: (-sizes[key], key)):
        min(parts, key=lambda part: sum(sizes[k] for k in part)).append(key)
    return [part for part in parts if part]


def run(function, jobs):
    """[function(*job) for job in jobs], the first job here and each other in a process of its own.

    function: of a module, so that it is found by its name. A job whose process fails is done here.
    """
    children = []
    for job in jobs[1:]:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD], cwd=ROOT, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        children.append(child)
        try:
            with child.stdin:
                pickle.dump((function, job), child.stdin, protocol=5)
        except OSError:  # it ended
            pass
    results = [function(*job) for job in jobs[:1]]
    for job, child in zip(jobs[1:], children, strict=True):
        with child:
            answer = child.stdout.read()
        results.append(pickle.loads(answer) if child.returncode == 0 else function(*job))
    return results


def work():
    """What such a process does."""
    answer, sys.stdout = os.fdopen(os.dup(1), "wb"), sys.stderr
    function, job = pickle.load(sys.stdin.buffer)
    with answer:
        pickle.dump(function(*job), answer, protocol=5)
