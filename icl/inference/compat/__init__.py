"""Answers of other programs, faults included, for people who must reproduce an earlier analysis."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from icl.inference.rectify import Problem, Rectified

PEERS = {"ppi_py": ("ppi++", "coordinate"), "ipd": ("coordinate", "matrix")}
"""Named weights that each program knows; the first is what `auto` means. All know numbers (ipd: 0 and 1)."""


def solver_like(peer: str) -> Callable[[Problem, str | float], Rectified]:
    """The solver that reproduces `peer`."""
    if peer == "ipd":
        from icl.inference.compat.ipd import solve_like_ipd

        return solve_like_ipd
    from icl.inference.compat.ppi_py import solve_like_ppi_py

    return solve_like_ppi_py
