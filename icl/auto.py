"""`AutoConfig` and `AutoModel` of transformers know our model as soon as both packages are imported, in either order.

Without importing transformers: a finder waits for its registries and has ours fill them when they have been read.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys
from types import ModuleType

_WAITING = {
    "transformers.models.auto.configuration_auto": "icl.network.config",
    "transformers.models.auto.modeling_auto": "icl.network.pretrained",
}
"""Registries, and the modules of ours that register when they are imported."""


class _Waiting(importlib.abc.MetaPathFinder):
    """Finds nothing itself; what others find for a registry gets one more step after it has been executed."""

    def find_spec(self, name: str, path=None, target=None):
        ours = _WAITING.pop(name, None)
        if ours is None:
            return None
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            importlib.import_module(ours)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]  # of this loader alone
        return spec


def register() -> None:
    """Make the model known to transformers: now, where it is imported already, else when it is."""
    for name, ours in list(_WAITING.items()):
        if name in sys.modules:
            del _WAITING[name]
            importlib.import_module(ours)
    if _WAITING:
        sys.meta_path.insert(0, _Waiting())
