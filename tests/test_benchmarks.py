"""tests/benchmarks: what becomes of a peer that fails or hangs, and of what was measured."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent / "benchmarks"
HANG = "import subprocess, sys; a = 'import time; time.sleep({})'; "
HANG += "subprocess.run([sys.executable, '-c', a])"


@pytest.fixture
def turns(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import turns

    monkeypatch.setattr(turns, "PAUSE", 0)
    yield turns
    assert not turns.Peer.running


def processes(word):
    """The processes that run with `word` among their arguments."""
    command = ["ps", "-A", "-ww", "-o", "stat=", "-o", "args="]
    lines = subprocess.check_output(command, text=True).splitlines()
    return [line for line in lines if word in line and not line.startswith("Z")]


def wait_for(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def python(turns, code):
    """A peer that runs `code` in a Python of its own."""
    return turns.Peer("program", "-c", code)


def test_a_peer_that_fails_has_words_in_the_table_and_no_ratio(turns, capsys):
    peers = {"ours": python(turns, "pass"), "fails": python(turns, "1 / 0")}
    peers["cannot"] = turns.Peer("parser", "ours", "no such file")
    peers["works"] = python(turns, "pass")
    results = turns.compare("title", peers, 1)
    assert results["fails"] is None and results["ours"]["turns"] == 1
    assert set(results["ratios"]) == {"works"} and set(results["failures"]) == {"fails", "cannot"}
    table = capsys.readouterr().out
    assert "fails               failed: " in table and "nan" not in table
    assert "ZeroDivisionError" in peers["fails"].error_text


def test_where_we_fail_the_others_have_results(turns):
    peers = {"ours": python(turns, "1 / 0"), "other": python(turns, "pass")}
    results = turns.compare("title", peers, 1)
    assert results["ours"] is None and results["ratios"] == {} and results["other"]["median"] > 0


def test_a_signal_is_named_by_its_number(turns):
    peer = turns.Peer("kill", 0, int(signal.SIGILL), module="os")  # it kills its own group
    assert peer() is None
    assert peer.failure == f"failed: exit status {-signal.SIGILL}"


def test_a_peer_that_hangs_ends_with_what_it_started(turns, monkeypatch):
    monkeypatch.setattr(turns, "LIMIT", 2)
    word = f"30.{os.getpid()}"
    results = turns.compare("title", {"ours": python(turns, HANG.format(word))}, 3)
    assert results["failures"] == {"ours": "over 2 s"} and results["ours"] is None
    wait_for(lambda: not processes(word))


def test_a_slow_comparison_takes_fewer_turns(turns, monkeypatch):
    monkeypatch.setattr(turns, "ENOUGH", 0)
    results = turns.compare("title", {"ours": python(turns, "pass")}, 5)
    assert results["ours"]["turns"] == 1


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_run_writes_what_it_measured_and_ends_all_processes(tmp_path, sent):
    word = f"40.{os.getpid()}{sent:d}"
    code = (
        f"import sys; sys.path.insert(0, {str(FOLDER)!r}); import run\n"
        "peer = lambda code: {'ours': run.Peer('program', '-c', code)}\n"
        "def parts(args):\n"
        "    yield 'quick', 'quick', peer('pass')\n"
        f"    yield 'hangs', 'hangs', peer({HANG.format(word)!r})\n"
        "run.PARTS, run.machine = {'parse': parts}, dict\n"
        "sys.argv[1:] = ['parse', '--repeats', '1', '--json', 'results.json']\n"
        "run.main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with process:
        try:
            wait_for(lambda: len(processes(word)) > 3)  # run.py, the peer, program, its child
            process.send_signal(sent)
            assert process.wait(30) != 0
        finally:
            process.kill()
    wait_for(lambda: not processes(word))
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["parse"]["quick"]["ours"]["median"] > 0 and "hangs" not in results["parse"]
