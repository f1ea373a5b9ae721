"""Coverage and width of the estimands beyond means and regressions; `python -m benchmarks.estimands --help`."""

from benchmarks.estimands.disparity import CASES as DISPARITY
from benchmarks.estimands.effects import CASES as EFFECTS
from benchmarks.estimands.pseudo import CASES as PSEUDO
from benchmarks.estimands.several import CASES as SEVERAL
from benchmarks.estimands.transport import CASES as TRANSPORT

CASES = [*EFFECTS, *TRANSPORT, *SEVERAL, *DISPARITY, *PSEUDO]
