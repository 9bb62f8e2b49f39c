"""Measures functions in processes of their own that take turns: what run.py is made of."""

import contextlib
import importlib
import json
import os
import platform
import re
import resource
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

LIMIT = 120  # seconds that a call may take, the first with its imports and its compiling
ENOUGH = 600  # seconds after which a comparison takes no further turn, once one has counted
# After a call, OpenMP's threads spin, Intel's and LLVM's for 200 ms. A pause before each
# measurement lets PyTorch's fall asleep; OMP_WAIT_POLICY=PASSIVE might slow PyTorch itself.
PAUSE = 0.3  # seconds
STATISTICS = ("median", "min", "max", "first", "peak_mib", "turns")


def timed(call):
    """The seconds that call() takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


class Peer:
    """A process that measures one thing whenever it is asked to.

    function: one of `module` that returns what to call, and by how much to multiply its seconds.
    failure: why it measures no more, in a few words, or "".
    """

    running = []  # noqa: RUF012 - of all peers: those whose processes are to be ended

    def __init__(self, function, *args, module="run"):
        folder = str(Path(__file__).resolve().parent)
        code = f"import sys; sys.path.insert(0, {folder!r}); import turns; "
        code += f"turns.serve({module!r}, {function!r}, *{args!r})"
        self.failure = ""
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - it lives as long as the process
        # A group of its own: what it started can be ended with it. No buffers: select sees all.
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self.errors, start_new_session=True,
        )  # fmt: skip
        self.running.append(self)

    def __call__(self):
        """The seconds of one more call; peak_mib is the process's most memory so far.

        None after a failure, which ends the process.
        """
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(b"\n")
        late = not select.select([self.process.stdout], [], [], LIMIT)[0]
        if not late and (line := self.process.stdout.readline()):
            seconds, self.peak_mib = json.loads(line)
            return seconds
        status = None if late else self.process.wait(LIMIT)
        self.end()
        self.failure = f"over {LIMIT} s" if late else self.last_words(status)
        return None

    def last_words(self, status):
        """Why the process ended by itself: the last line of its errors, or its exit status."""
        lines = self.error_text.splitlines()
        # A signal (a negative status), as for an instruction that the CPU lacks, has no last line.
        why = lines[-1] if lines and status > 0 else f"exit status {status}"
        return textwrap.shorten(f"failed: {why}", 80, placeholder=" ...")

    def end(self):
        """End the process and all that it started; error_text is what it wrote about errors."""
        if self not in self.running:
            return
        self.running.remove(self)
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: all are dead
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.errors.seek(0)
        self.error_text = self.errors.read().strip()
        for file in (self.process.stdin, self.process.stdout, self.errors):
            file.close()


@contextlib.contextmanager
def all_ended():
    """Ends all peers when it is left, also by an error, Ctrl-C or SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        for peer in [*Peer.running]:
            peer.end()


def serve(module, function, *args):
    """What a Peer's process does: one measurement for each line that it reads."""
    call, scale = getattr(importlib.import_module(module), function)(*args)
    for _ in sys.stdin:
        seconds = timed(call) * scale
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # kB; on macOS bytes
        peak /= 1024 if sys.platform == "darwin" else 1
        print(json.dumps([seconds, peak]), flush=True)


def take_turns(peers, repeats):
    """Statistics of the seconds of each of `peers`, {name: Peer}, and its memory; None for a peer
    that failed. Ends them.
    """
    times, results, start = {name: [] for name in peers}, {}, time.monotonic()
    for turn in range(2 + repeats):
        if turn > 2 and time.monotonic() - start > ENOUGH:
            break
        for name, peer in peers.items():
            if not peer.failure:
                time.sleep(PAUSE)
                times[name].append(peer())
    for name, peer in peers.items():
        peer.end()
        results[name] = None
        if not peer.failure:
            first, _, *rest = times[name]
            values = statistics.median(rest), min(rest), max(rest), first, peer.peak_mib, len(rest)
            results[name] = dict(zip(STATISTICS, values, strict=True))
    return results


def compare(title, peers, repeats):
    """take_turns, as a table, too. Beside it `ratios` has those of the first peer to the others,
    `failures` why a peer has no results.
    """
    results = take_turns(peers, repeats)
    failures = {name: peer.failure for name, peer in peers.items() if peer.failure}
    medians = {name: stats["median"] for name, stats in results.items() if stats}
    ours = medians.pop(next(iter(peers)), None)
    ratios = {name: ours / median for name, median in medians.items()} if ours else {}
    heads = "".join(f"{head:>10}" for head in (*STATISTICS, "ours/it"))
    print(f"\n{title}; {cpu()}\n{'':18}{heads}")
    for name, stats in results.items():
        if name in failures:
            print(f"{name:18}  {failures[name]}", flush=True)
            continue
        *seconds, peak, turns = stats.values()
        cells = [f"{value:.4f}" for value in seconds] + [f"{peak:.0f}", f"{turns}"]
        cells += [f"{ratios[name]:.2f}"] if name in ratios else []
        print(f"{name:18}" + "".join(f"{cell:>10}" for cell in cells), flush=True)
    return results | {"ratios": ratios, "failures": failures}


def cpu():
    """The CPU's name."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", info.read_text()) if info.exists() else []
    return names[0] if names else platform.processor()
