"""Texts seen by their shapes are read as each alone is."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from icl.tables.cells import Coded, Shapes
from icl.tables.numbers import Numbers

LOOKS = ("{} €", "€ {}", "-{}", "({})", "{}-", "−{} EUR", "{}e-3", "{},5 %", "0{}", "{} words", "½ {}", "x")


@pytest.fixture
def cells() -> list[str]:
    rng = np.random.default_rng(0)
    amounts = [f"{x:,.2f}".replace(",", " ").replace(".", ",") for x in np.exp(rng.uniform(-5, 15, 300))]
    return [LOOKS[i % len(LOOKS)].format(amount) for i, amount in enumerate(amounts)]


@pytest.mark.parametrize("numbers", [Numbers(","), Numbers(",", percent=True)])
def test_a_cell_reads_alike_among_others_and_alone(cells, numbers):
    cells = cells[::11]
    values, wrong = numbers.read(pd.Series(cells, dtype="str"))
    alone = [numbers.read(pd.Series([cell], dtype="str")) for cell in cells]
    np.testing.assert_array_equal(values, [value.iloc[0] for value, _ in alone])
    assert wrong.tolist() == [is_wrong.iloc[0] for _, is_wrong in alone]


def test_shapes_with_their_digits_are_the_texts(cells):
    for texts in (pa.array(cells, pa.large_string()), pa.array(cells, pa.large_string()).slice(7, 200)):
        shapes = Shapes.of(texts)
        assert shapes.with_digits(shapes.shapes).to_pylist() == texts.to_pylist()


def test_amounts_that_all_differ_have_few_shapes():
    amounts = pd.Series([f"{x:.2f} €".replace(".", ",") for x in np.random.default_rng(0).uniform(10, 999, 2_000)])
    assert len(Coded.of(amounts).shapes.shapes) <= 4  # two or three digits, and a zero behind the comma or none
    assert len(Coded.of(pd.Series([], dtype="str")).shapes.shapes) == 0


def test_a_zero_that_begins_a_number_is_part_of_its_shape():
    shapes = Shapes.of(pa.array(["04109", "14109", "10,05", "17", "0", "3"], pa.large_string()))
    assert shapes.shapes.take(pa.array(shapes.codes)).to_pylist() == ["01111", "11111", "11,01", "11", "0", "1"]
