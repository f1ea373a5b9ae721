"""The tipping point: where the interval changes sides of zero as draws are shifted."""

import numpy as np
import pandas as pd
import pytest

import icl

pytestmark = pytest.mark.filterwarnings("ignore::icl.ImputationWarning")


def test_a_conclusion_tips_where_its_interval_meets_zero():
    rng = np.random.default_rng(0)
    treated = np.repeat([0.0, 1.0], 30)
    y = 1.2 * treated + rng.normal(size=60)
    table = pd.DataFrame({"y": np.where((treated == 1) & (rng.random(60) < 0.5), np.nan, y), "treated": treated})
    options = {"checkpoint": "nano"}
    tips = icl.tipping_point("ols: y ~ treated", table, "y", (-4.0, -2.0, 0.0, 1.0), m=5, options=options)
    frame = tips.frame.set_index("shift")
    assert tips.term == "treated" and frame["estimate"].is_monotonic_increasing
    assert frame.loc[0.0, "lower"] > 0 and tips.at in (-4.0, -2.0)
    assert not frame.loc[tips.at, "lower"] > 0
    # Only treated outcomes are missing, so a shift of d moves the effect by d times their share.
    share = table["y"].isna()[30:].mean()
    spread = table["y"].std(ddof=0)
    assert frame.loc[1.0, "estimate"] - frame.loc[0.0, "estimate"] == pytest.approx(share * spread, rel=1e-6)
    assert "treated" in tips.plot().get_ylabel() and "changes at a shift" in repr(tips)
    with pytest.raises(ValueError, match="the terms of"):
        icl.tipping_point("ols: y ~ treated", table, "y", (0.0,), term="age", m=2, options=options)
