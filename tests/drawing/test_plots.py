"""Plots of densities and losses."""

import sys

from handwriting.drawing import plots

import numpy as np
from matplotlib.figure import Figure
from test_strokes import random_mixture


def test_plot_density_writes_a_wide_png(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # it may open a window system
    file = tmp_path / "density.png"
    plots.plot_density(np.tile([[10, 0, 0]], (100, 1)), random_mixture(100, 4), file)
    content = file.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n") and content.endswith(b"IEND\xaeB`\x82")
    width, height = (int.from_bytes(content[i : i + 4], "big") for i in (16, 20))
    assert 1000 < width < 3000 and 400 < height < width


def test_plot_losses_draws_both_losses_of_every_epoch(monkeypatch):
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: figures.append(self))
    rows = [(1, 2.5, 2.25), (2, 1.5, 1.75)]
    names = "epoch", "train_loss", "valid_loss"
    plots.plot_losses([dict(zip(names, row, strict=True)) for row in rows], "loss.png")
    curves = [line.get_xydata().tolist() for line in figures[0].axes[0].lines]
    assert curves == [[[1, 2.5], [2, 1.5]], [[1, 2.25], [2, 1.75]]]
