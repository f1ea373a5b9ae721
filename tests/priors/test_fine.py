"""How fine the cells of `FinePrior` are."""

import pytest

from priors import FinePrior, TaskShape, fine


@pytest.mark.parametrize("n_rows", [20, 32, 60, 1000])
def test_fine_columns_have_eight_cells_together_at_least(n_rows, monkeypatch, seeded):
    """And one to five rows at most, wherever that leaves eight; each number of a cell is its own."""
    seen = []
    field, looked_up = fine._field, fine._looked_up
    monkeypatch.setattr(
        fine, "_field", lambda place, each, *more: seen.append((place, each)) or field(place, each, *more)
    )
    numbers = []
    monkeypatch.setattr(
        fine, "_looked_up", lambda number, C, *more: numbers.append((number, C)) or looked_up(number, C, *more)
    )
    for seed in range(60):
        FinePrior(task="regression").sample_latent(TaskShape(4, n_rows, n_rows // 2, 3), 1, seeded(seed))
    for place, each in seen:
        n_cells = each.flatten() ** place.shape[-1]
        assert (n_cells >= 8).all() and (each == each.floor()).all()
    assert all(int(number.max()) < C for number, C in numbers)
    assert {place.shape[-1] for place, _ in seen} == {1, 2, 3}
    # Of cells that count together there are no more than rows allow.
    assert any(float(each.max()) > n_rows / 10 for _, each in seen) or n_rows < 100


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_columns": 0}, "max_columns is a whole number from 1 to 8, got 0"),
        ({"max_columns": 40}, "got 40"),
        ({"max_columns": 1.5}, "got 1.5"),
        ({"rows_per_cell": float("nan")}, "rows_per_cell must be a finite number of at least 1, got nan"),
        ({"rows_per_cell": float("inf")}, "got inf"),
        ({"rows_per_cell": 0.5}, "got 0.5"),
    ],
)
def test_what_cannot_be_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        FinePrior(task="regression", **options)
