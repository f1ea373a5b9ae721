"""What describes a cell: value and rank among the context, and waves of the rank as many as the configuration says."""

import math

import pytest
import torch
from torch.testing import assert_close

from icl.network.cells import CellEncoder, ColumnStatistics, n_channels
from icl.network.config import TabularConfig


@pytest.mark.parametrize("n_waves", [0, 3, 5])
def test_waves_are_those_of_the_rank(n_waves, seeded):
    X = torch.randn(2, 12, 3, dtype=torch.double, generator=seeded(0))
    columns = ColumnStatistics.of(X[:, :9], torch.zeros(2, 3, dtype=torch.bool))
    cells = CellEncoder.describe(X, columns, n_waves)
    assert cells.shape[-1] == n_channels(TabularConfig(n_rank_waves=n_waves)) == 4 + 2 * n_waves
    below = (X[:, None, :9] < X[:, :, None]).sum(2) + (X[:, None, :9] <= X[:, :, None]).sum(2)
    share = below.double() / 18  # mid-rank in [0, 1]
    assert_close(cells[..., 1], 2 * share - 1)
    for k in range(n_waves):
        # 1/2, 1, 2, ... periods; nothing at the middle.
        phase = 2 * math.pi * 2 ** (k - 1) * (share - 0.5)
        assert_close(cells[..., 4 + 2 * k], torch.sin(phase))
        assert_close(cells[..., 5 + 2 * k], torch.cos(phase))


def test_ranks_a_sixteenth_apart_differ_most_in_the_fastest_of_five_waves():
    X = torch.arange(65, dtype=torch.double)[None, :, None]
    columns = ColumnStatistics.of(X, torch.zeros(1, 1, dtype=torch.bool))
    cells = CellEncoder.describe(X, columns, 5)[0, :, 0]
    gap = (cells[30] - cells[34])[4:].reshape(5, 2).square().sum(1)
    assert gap.argmax() == 4 and gap[4] > 5 * gap[2]
