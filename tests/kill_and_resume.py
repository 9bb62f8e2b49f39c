"""Kills a training run at random moments, again and again, and sees that it goes on each time and ends as it should.

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

from conftest import ROOT, environment, make_corpus, tiny_flags

START = 4.0  # seconds within which a run that is killed before its first step is killed


def start(folder, flags):
    """A process of train.py that saves after every step; its --model_dir is `run`, resumed if it holds a checkpoint."""
    run = folder / "run"
    if list(run.glob("model.ckpt-*.index")):
        flags = ["--resume"]
    elif (run / "config.json").exists():
        flags = [*flags, "--overwrite"]
    command = [sys.executable, ROOT / "train.py", *flags, "--model_dir=run"]
    return subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True)


def newest(folder):
    """The step of the newest checkpoint of the run, 0 if there is none."""
    return max((int(path.stem.rpartition("-")[2]) for path in (folder / "run").glob("model.ckpt-*.index")), default=0)


def kill_and_resume(folder, times, seed=0, longest=1.0, **changes):
    """Start the tiny run, save after each step, kill it `times` times, then let it end; returns the steps at the kills.

    folder: without a run in it, gets data of its own. changes: of tiny_flags. A run is killed up to `longest` seconds
    after it began its first step, and one in five before. AssertionError says where a run did not go on as it should.
    """
    rng, steps = random.Random(seed), []
    if not (folder / "data").exists():
        make_corpus(folder / "data")
    flags = tiny_flags(**{"save_every": 1, **changes})
    while True:
        before, process = newest(folder), start(folder, flags)
        if len(steps) < times and rng.random() < 0.2:
            time.sleep(rng.uniform(0, START))
        else:
            line = process.stdout.readline()  # "... lines; ... ; going on from step N", just before the first step
            assert line, process.stderr.read()
            found = re.search(r"going on from step (\d+)", line)
            assert int(found[1] if found else 0) == before, (line, before)
            if len(steps) == times:
                process.communicate()
                assert process.returncode == 0
                return steps
            time.sleep(rng.uniform(0, longest))
        assert process.poll() is None, f"the run ended before it was killed:\n{process.stderr.read()}"
        process.kill()
        _, errors = process.communicate()
        assert not errors, errors
        steps.append(newest(folder))
        assert steps[-1] >= before


def main():
    parser = argparse.ArgumentParser(description="Kill a training run at random moments; it must go on each time.")
    parser.add_argument("--times", default=50, type=int, help="how often")
    parser.add_argument("--seed", default=0, type=int, help="of the moments")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        steps = kill_and_resume(Path(folder), args.times, args.seed, num_epochs=100 * args.times)
    print(f"killed {args.times} times, with the newest checkpoint at steps {steps}; resumed each time, and ended")


if __name__ == "__main__":
    main()
