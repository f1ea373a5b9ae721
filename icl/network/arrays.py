"""What answers in tensors, answering in NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor


class InNumPy:
    """Methods and properties of `whole`, whose tensors come as NumPy arrays; arguments may be arrays or numbers."""

    def __init__(self, whole: Any):
        self._whole = whole

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what copy and pickle ask for
            raise AttributeError(name)
        found = getattr(self._whole, name)
        if callable(found):
            return lambda *args, **options: _as_array(found(*map(_as_number, args), **options))
        return _as_array(found)

    def __getitem__(self, index: Any) -> InNumPy:
        return InNumPy(self._whole[index])

    def __dir__(self) -> list[str]:
        return dir(self._whole)

    def __repr__(self) -> str:
        return f"{self._whole!r}, in NumPy"


def _as_number(given: Any) -> Any:
    """A list of numbers would be no index and no level of a quantile."""
    return np.asarray(given) if isinstance(given, list | tuple) else given


def _as_array(found: Any) -> Any:
    return found.detach().cpu().numpy() if isinstance(found, Tensor) else found
