"""A number above 0, as options take it: finite, for `inf` is a slip of the pen or means to leave the option out."""

from jsonargparse.typing import restricted_number_type

PositiveNumber = restricted_number_type("PositiveNumber", float, [(">", 0), ("<", 1e12)])
