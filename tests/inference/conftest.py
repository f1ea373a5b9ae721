"""Inputs shared by the inference tests; see data/README.md for where they come from."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def inputs() -> dict[str, np.ndarray]:
    """400 labeled rows, then 4,000 unlabeled ones whose outcomes are known to the simulator."""
    with np.load(DATA / "inputs.npz") as stored:
        return dict(stored)


@pytest.fixture(scope="session")
def table(inputs) -> pd.DataFrame:
    """The inputs as a user has them: the outcomes of the last 4,000 rows are missing."""
    frame = pd.DataFrame(inputs)
    frame.loc[frame["labeled"] == 0, ["y_lin", "y_bin", "y_poi"]] = np.nan
    return frame
