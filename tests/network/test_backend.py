"""network/backend.py: functions compiled by XLA compute what they do as graphs."""

import train
from conftest import end, read_losses, start_forked, text_flags, tiny_flags

import pytest


def test_a_run_compiled_by_xla_has_the_losses_of_one_that_is_not(text_run, corpus, tmp_path):
    """Other processes have XLA, those that run tests have graphs; see conftest."""
    flags = ["--text", "--skip", f"--model_dir={tmp_path / 'run'}"]
    flags += tiny_flags(**text_flags(corpus))
    assert end(start_forked(tmp_path / "process", train.main, flags))[0] == 0
    ours, theirs = read_losses(tmp_path / "run"), read_losses(text_run)
    for name in ("train_loss", "valid_loss"):
        expected = [row[name] for row in theirs]
        assert [row[name] for row in ours] == pytest.approx(expected, rel=1e-4)
