"""A fitted estimator as a folder: what it learnt of its table, and its weights by reference or beside it; no pickle.

| file                | holds                                                                                 |
|---------------------|---------------------------------------------------------------------------------------|
| `estimator.json`    | class, parameters, what was learnt of columns and labels, the labelled rows            |
| `state.safetensors` | its arrays                                                                            |
| `weights/`          | a release folder: a copy of the checkpoint if asked for                                |
| `tuned/`            | the same of weights that `finetune=` trained in `fit`                                  |
| `target0/`, ...     | of several targets: such a folder for the estimator of each                            |

The labelled rows are inside: they are what answers. Share such a folder as you would share the table.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch

from icl.atomic import replacing_folder
from icl.estimators.chain import Chain
from icl.releases.folder import load_release, save_release, sha256_of
from icl.releases.names import PARTS, WEIGHTS, CheckpointError, resolve_checkpoint
from icl.releases.provenance import version_of
from icl.releases.reading import MOST_TEXT, parse_json, read_bounded
from icl.releases.state import Packer, Unpacker, alike
from icl.releases.steady import read_steadily

ESTIMATOR, STATE = "estimator.json", "state.safetensors"
_CLASSES = {"ICLClassifier": "icl.estimators.classifier", "ICLRegressor": "icl.estimators.regressor"}
_MOST = 64 * MOST_TEXT  # a labelled table may be large, in text and in numbers
_INSIDE, _TUNED, _TARGET = "weights", "tuned", "target"


def save(estimator: Any, path: str | os.PathLike, weights: str = "reference") -> Path:
    """Write a fitted estimator to a folder and return it; see `SavedMixin.save`."""
    if weights not in ("reference", "inside"):
        raise ValueError(f"weights must be 'reference' or 'inside', got {weights!r}.")
    if (chain := vars(estimator).get("chain_")) is None:
        estimator.answering()  # says so if nothing was fitted
    path = Path(os.path.realpath(Path(path).expanduser()))
    if path.exists() and (not path.is_dir() or (any(path.iterdir()) and not (path / ESTIMATOR).is_file())):
        raise ValueError(f"{path} exists and is no saved estimator; choose another folder, it will not be overwritten.")
    state = dict(estimator.__getstate__())
    params = {name: state.pop(name) for name in estimator.get_params(deep=False)}
    state = {} if chain is not None else state  # what an earlier fit to one target left does not answer
    tuned = state.pop("_tuned", None)
    given = params.pop("checkpoint")
    if not isinstance(params.get("random_state"), int | None):
        params["random_state"] = None  # a generator in mid-stream; what it drew is in the state
    given_companions = _estimators_in(params["companions"])
    packer = Packer(given_companions)
    content = {
        "format": 1,
        "icl": version_of("icl"),
        "class": type(estimator).__name__,
        "checkpoint": _reference(given, weights),
        "companions": [alike(companion) for companion in given_companions],
        "params": packer.pack(params),
        "state": packer.pack({k: v for k, v in state.items() if k not in ("_sklearn_version", "_calibrations")}),
        "tuned": tuned is not None,
        "targets": None if chain is None else packer.pack(chain.names),
    }
    text = json.dumps(content, allow_nan=False)
    if len(text) > _MOST:
        raise ValueError(f"the labelled table takes {len(text):,} characters, more than the {_MOST:,} that load reads.")
    from safetensors.numpy import save as to_bytes

    with replacing_folder(path) as staging:
        for before in (staging / _INSIDE, staging / _TUNED, *staging.glob(f"{_TARGET}*")):
            shutil.rmtree(before, ignore_errors=True)  # of an estimator that was here before
        for k, model in enumerate([] if chain is None else chain.models):
            save(model, staging / f"{_TARGET}{k}", weights)
        (staging / ESTIMATOR).write_text(text, encoding="utf-8")
        (staging / STATE).write_bytes(to_bytes(packer.arrays))
        if isinstance(given, torch.nn.Module):
            save_release(cast(Any, given), staging / _INSIDE, {"of": "a model in memory"}, dtype=torch.float32)
        elif weights == "inside":
            shutil.copytree(resolve_checkpoint(given), staging / _INSIDE, ignore=_only_release)
        if tuned is not None:
            save_release(tuned, staging / _TUNED, {"of": "finetune= in fit"}, dtype=torch.float32)
    return path


def load(path: str | os.PathLike, device: Any = None, companions: Sequence[Any] = ()) -> Any:
    """The estimator that `save` wrote: it answers as the one that was saved.

    Nothing in the folder is executed. Weights by reference must be those that it was saved with.

    Args:
        device: in place of the one it was saved with.
        companions: the estimators among those that it was fitted with, unfitted and with the same parameters: a file
            names no code that is run, so they are brought along, and fitted again on the labelled rows.
    Raises:
        CheckpointError: naming the file, what is wrong with it and what to do.

    Examples:
        >>> import tempfile, icl
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = icl.ICLClassifier("nano", n_estimators=1).fit(X[::5], y[::5])
        >>> again = icl.load(model.save(tempfile.mkdtemp() + "/iris"))
        >>> bool((again.predict_proba(X) == model.predict_proba(X)).all())
        True
    """
    path = Path(path).expanduser()
    if not isinstance(companions, (str, list, tuple)):
        raise TypeError(f"companions= got {companions!r}; pass a list of estimators, such as [MyModel()].")
    return read_steadily(path, lambda: _load(path, device, _estimators_in(companions)))


def _load(path: Path, device: Any, companions: list, is_part: bool = False) -> Any:
    from importlib import import_module

    if not (path / ESTIMATOR).is_file():
        raise CheckpointError(f"{path} is no saved estimator: {ESTIMATOR} is missing. Write one with model.save(path).")
    content = parse_json(read_bounded(path / ESTIMATOR, _MOST), path / ESTIMATOR)
    if content.get("format") != 1 or content.get("class") not in _CLASSES:
        raise CheckpointError(
            f"{path / ESTIMATOR} is of format {str(content.get('format'))[:20]!r} and class "
            f"{str(content.get('class'))[:40]!r}, which icl {version_of('icl')} does not read. Save it again, or use "
            f"icl {str(content.get('icl'))[:20]}."
        )
    _check_companions(companions, content.get("companions", []), path)
    reader = Unpacker(_arrays(path / STATE), path / ESTIMATOR, companions)
    cls = getattr(import_module(_CLASSES[content["class"]]), content["class"])
    estimator = cls(**_params_of(cls, reader.unpack(content["params"]), path))
    estimator.checkpoint = _checkpoint(content["checkpoint"], path)
    if device is not None:
        estimator.device = device
    if (targets := content.get("targets")) is not None:
        if is_part or not isinstance(targets, list):
            raise CheckpointError(f"{path / ESTIMATOR} is damaged: its targets are no list. Save the model again.")
        parts = [_load(path / f"{_TARGET}{k}", device, companions, is_part=True) for k in range(len(targets))]
        estimator.chain_ = Chain(reader.unpack(targets), parts)
        return estimator
    state = reader.unpack(content["state"])
    state["_tuned"] = load_release(path / _TUNED) if content.get("tuned") else None
    try:
        estimator.__setstate__({**vars(estimator), **state, "_calibrations": {}})
        estimator.answering()
    except CheckpointError:
        raise
    except Exception as error:  # a state that fits together in no version
        raise CheckpointError(
            f"{path / ESTIMATOR} (icl {str(content.get('icl'))[:20]}) does not fit icl {version_of('icl')}: {error}. "
            f"Fit and save the model again."
        ) from error
    return estimator


class SavedMixin:
    """`save`; the way back is `icl.load`."""

    def save(self, path: str | os.PathLike, weights: str = "reference") -> Path:
        """Write what was fitted to a folder, whole or not at all, and return it; `icl.load` reads it. No pickle.

        Args:
            path: a new folder, or one that holds a saved estimator.
            weights: "reference" names the checkpoint (a few kB beside the labelled rows); "inside" copies it. A model
                in memory and weights tuned by `finetune=` always go inside.
        Raises:
            ValueError: if nothing was fitted, or for a part without a plain form, such as an object of your own in a
                cell of the table. Companions that are estimators are named; `icl.load(path, companions=)` takes them.
        """
        return save(self, path, weights)


def _estimators_in(companions: Any) -> list:
    """Of companions those without a name."""
    return [] if isinstance(companions, str) else [one for one in companions if not isinstance(one, str)]


def _check_companions(brought: list, saved: Any, path: Path) -> None:
    """CheckpointError unless those are brought along that an estimator was saved with."""
    found = [alike(companion) for companion in brought]
    saved = [str(one) for one in saved] if isinstance(saved, list) else []
    if found != saved:
        wanted, got = (
            ["".join(filter(str.isprintable, one.partition(": ")[2]))[:200] for one in several]
            for several in (saved, found)
        )
        raise CheckpointError(
            f"{path} was fitted with companions that a file cannot hold, [{', '.join(wanted)}]; got "
            f"[{', '.join(got)}]. Bring them along: icl.load(path, companions=[{', '.join(wanted)}])."
        )


def _reference(given: Any, weights: str) -> dict:
    if isinstance(given, torch.nn.Module) or weights == "inside":
        return {"inside": True}
    folder = resolve_checkpoint(given)
    return {"name": None if given is None else str(given), "folder": folder.name, "sha256": sha256_of(folder / WEIGHTS)}


def _checkpoint(reference: Any, path: Path) -> Any:
    if not isinstance(reference, dict):
        raise CheckpointError(f"{path / ESTIMATOR} names no checkpoint. Save the model again.")
    if reference.get("inside"):
        return str(path / _INSIDE)
    name = reference.get("name")
    # None is the best one shipped, which another version may change: then it is the one of that time.
    for candidate in (name, reference.get("folder")):
        try:
            if sha256_of(resolve_checkpoint(candidate) / WEIGHTS) == reference.get("sha256"):
                return candidate
        except CheckpointError:
            continue
    raise CheckpointError(
        f"{path} was saved with weights of checkpoint {str(name or reference.get('folder'))[:100]!r} that are not here "
        f"any more. Bring them back, or save with weights='inside'."
    )


def _params_of(cls: type, params: dict, path: Path) -> dict:
    known = cls()._get_param_names()
    if unknown := sorted(set(params) - set(known)):
        raise CheckpointError(
            f"{path / ESTIMATOR} has parameters that icl {version_of('icl')} does not know: {', '.join(unknown[:5])}."
        )
    return params


def _arrays(path: Path) -> dict:
    from safetensors import SafetensorError
    from safetensors.numpy import load as of_bytes

    try:
        return of_bytes(read_bounded(path, _MOST))
    except (SafetensorError, ValueError, KeyError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path} cannot be read as safetensors: {error}. Save the model again.") from error


def _only_release(folder: str, names: list[str]) -> set[str]:
    """What is not copied: curves, results, pictures."""
    return {name for name in names if name not in PARTS}
