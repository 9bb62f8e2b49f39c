"""Kills a training run at random moments, again and again: it must go on, and end as it should.

    python tests/kill_and_resume.py --times 50
"""

import argparse
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where pytest finds the program

from conftest import ROOT, STEPS, environment, make_corpus, tiny_flags

START = 8.0  # seconds from its start within which one run in five is killed


def start(folder, flags, epochs):
    """A process of train.py with --model_dir `run`, which is resumed if it holds a checkpoint."""
    flags = [*flags, f"--num_epochs={epochs}"]
    if newest(folder):
        flags = ["--resume", flags[-1]]
    elif (folder / "run" / "config.json").exists():
        flags = [*flags, "--overwrite"]
    command = [sys.executable, ROOT / "train.py", *flags, "--model_dir=run"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=folder, env=environment(), text=True, **pipes)


def newest(folder):
    """The step of the newest checkpoint of the run, 0 if there is none."""
    paths = (folder / "run").glob("checkpoint-*.safetensors")
    return max((int(path.stem.partition("-")[2]) for path in paths), default=0)


def read_start(process):
    """The step that a run goes on from; it says so just before its first step."""
    for line in process.stdout:
        if " weights; " in line:
            found = re.search(r"going on from step (\d+)", line)
            return int(found[1]) if found else 0
    raise AssertionError(process.stderr.read())


def kill_and_resume(folder, times, seed=0, longest=1.0, **changes):
    """Start the tiny run, save after each step, kill it `times` times, then let it end.

    folder: without `data` in it, it gets data of its own. changes: of tiny_flags. A run is killed
    up to `longest` seconds after its first checkpoint, and one in five before; the last one ends
    one or two epochs later. Returns the newest checkpoint's step at each kill, and the number of
    epochs in the end. AssertionError says where a run did not go on as it should.
    """
    rng, steps = random.Random(seed), []
    if not (folder / "data").exists():
        make_corpus(folder / "data")
    flags = tiny_flags(**{"save_every": 1, **changes})
    while True:
        before = newest(folder)
        epochs = before // STEPS + (2 if len(steps) == times else 100_000)
        process = start(folder, flags, epochs)
        if len(steps) < times and rng.random() < 0.2:
            time.sleep(rng.uniform(0, START))
        else:
            assert read_start(process) == before
            if len(steps) == times:
                _, errors = process.communicate()
                assert (process.returncode, errors) == (0, "")
                return steps, epochs
            while newest(folder) == before and process.poll() is None:
                time.sleep(0.01)
            time.sleep(rng.uniform(0, longest))
        assert process.poll() is None, f"ended before it was killed:\n{process.stderr.read()}"
        process.kill()
        _, errors = process.communicate()
        assert not errors, errors
        steps.append(newest(folder))
        assert steps[-1] >= before


def main():
    parser = argparse.ArgumentParser(description="Kill a training run at random moments.")
    parser.add_argument("--times", default=50, type=int, help="how often")
    parser.add_argument("--seed", default=0, type=int, help="of the moments")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        steps, _ = kill_and_resume(Path(folder), args.times, args.seed)
    print(f"killed {args.times} times, with the newest checkpoints at steps {steps}; it went on "
          "each time, and ended")


if __name__ == "__main__":
    main()
