"""What describes a cell: value and rank among the context, and waves of the rank as many as the configuration says."""

import math

import pytest
import torch
from torch.testing import assert_close

from icl.network.cells import GROUP_OFFSETS, CellEncoder, ColumnStatistics, n_channels, n_groups
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


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("least_groups", [0, 1, 4, 9, 100])
@pytest.mark.parametrize("group_size", [1, 2, 3, 5])
def test_every_feature_is_shown_about_as_often_as_the_others(group_size, least_groups, stride):
    """By groups that begin evenly spread over the features, as many as asked for where the table has so many."""
    config = TabularConfig(group_size=group_size, least_groups=least_groups)
    encoder = CellEncoder(config).double()
    for F in range(1, 41):
        X = torch.eye(F, dtype=torch.double)[None]  # row f: 1 in feature f
        columns = ColumnStatistics.of(X, torch.zeros(1, F, dtype=torch.bool))
        cells = encoder.group(X, columns, stride)[0].unflatten(-1, (group_size * len(GROUP_OFFSETS), -1))
        value = cells[..., 0]
        shown = (value > 0).sum((1, 2))  # of feature f: cells of all tokens that show it
        G = n_groups(config, F)
        apart = -(-F // group_size)
        assert max(apart, min(F, least_groups)) == G and value.shape[1] == -(-G // stride)
        assert F == 1 or shown.sum() == value.shape[1] * value.shape[2]
        if F > 1 and stride == 1 and G == F:
            assert (shown == value.shape[2]).all()
        elif F > 1:
            assert (shown > 0).all()
