"""Columns that only name rows are told from features, whatever they hold."""

import numpy as np
import pandas as pd
import pytest

from icl.tables.roles import why_unused


@pytest.mark.parametrize(
    ("cells", "name", "why"),
    [
        (range(30), "id", "names rows"),
        (range(30), "age", ""),
        ([*range(29), 0], "id", ""),
        (np.linspace(0, 1, 30), "id", ""),
        ([f"p{i}" for i in range(30)], "patient", "names rows"),
        ([f"p{i}" for i in range(10)], "patient", ""),  # too few to tell
        ([f"p{i % 29}" for i in range(30)], "patient", ""),
        ([f"case {i} came in with a cough" for i in range(30)], "story", ""),  # its words tell something
        (pd.date_range("2024-01-01", periods=30), "day", ""),
        ([[i] for i in range(30)], "embedding", ""),
        ([None] * 30, "nothing", ""),
        ([f"p{i}" for i in range(29)] + [None], "patient", "names rows"),
    ],
)
def test_why_a_column_is_not_used(cells, name, why):
    assert why_unused(pd.Series(cells, name=name)) == why


@pytest.mark.parametrize(
    "name",
    ["Kunden-Nr", "Kundennummer", "PassengerId", "CustomerID", "patientid", "PATIENT_NO", "policy number", "order no.",
     "Personal-Nr.", "numéro client", "N° client", "Matricule", "student.num", "pers_id"],
)  # fmt: skip
def test_names_of_rows_are_known_in_other_words(name):
    assert why_unused(pd.Series(range(30), name=name)) == "names rows"
    assert why_unused(pd.Series([*range(29), 0], name=name)) == ""  # comes twice: a group, maybe


@pytest.mark.parametrize(
    "name", ["paid", "humid", "COVID", "Number of visits", "rooms no", "número de hijos", "n_orders", "Anzahl", "idle",
             "cases", "Nummernkreis", "casein", "userid share"],
)  # fmt: skip
def test_what_counts_things_is_a_feature(name):
    assert why_unused(pd.Series(range(30), name=name)) == ""
