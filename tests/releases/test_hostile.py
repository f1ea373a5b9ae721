"""Folders that somebody tampered with are refused with `CheckpointError`, quickly and within little memory, or load."""

import json
import random
import resource
import time

import pytest
import torch

from benchmarks.fuzz_releases import copy, read_everything, scores_of, tamper, whole_release
from icl.releases.folder import load_release
from icl.releases.names import CheckpointError
from icl.releases.prior_limits import PriorLimits, limits_of
from icl.releases.provenance import origin_of
from icl.releases.seen import read_seen

N_FOLDERS = 100


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = whole_release(tmp_path_factory.mktemp("whole") / "r")
    assert read_everything(folder, scores_of(folder)) == "loads"
    return folder


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_tampered_folders_are_refused_or_load(whole, tmp_path):
    """All kinds of damage; what loads answers as before. Two seconds of processor time each, and 500 MB, at most."""
    draw, expected = random.Random(0), scores_of(whole)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = {"loads": 0, "refused": 0}
    for number in range(N_FOLDERS):
        folder = copy(whole, tmp_path / str(number))
        what = tamper(folder, draw)
        start = time.process_time()
        try:
            outcome = read_everything(folder, expected)
        except Exception as error:
            raise AssertionError(f"folder {number}, {what}") from error
        assert time.process_time() - start < 2, what
        outcomes["loads" if outcome == "loads" else "refused"] += 1
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 500
    assert min(outcomes.values()) > 10  # some damage is harmless: another seed, a card


CONFIG = {
    "n_layers 100000": {"n_layers": 100_000},
    "d_embed 96000": {"d_embed": 96_000},
    "a width that only the file contradicts": {"d_embed": 16_000, "n_heads": 2},
    "a truth value": {"n_bins": True},
    "a fraction": {"n_layers": 2.0},
    "negative": {"n_thinking_rows": -1},
}


@pytest.mark.parametrize("case", CONFIG)
def test_sizes_are_refused_before_memory_is_taken(whole, tmp_path, case):
    folder = copy(whole, tmp_path / "r")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | CONFIG[case]))
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_release(folder)
    assert time.process_time() - start < 2
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 500


@pytest.mark.parametrize("change", ["nan", "inf", "int64", "bool", "complex64"])
def test_weights_that_are_no_finite_numbers_are_refused(whole, tmp_path, change):
    from safetensors.torch import load_file, save_file

    folder = copy(whole, tmp_path / "r")
    weights = load_file(folder / "model.safetensors")
    if change in ("nan", "inf"):
        weights["norm.weight"][3] = float(change)
    else:
        weights["norm.weight"] = weights["norm.weight"].to(getattr(torch, change))
    save_file(weights, folder / "model.safetensors")
    (folder / "provenance.json").unlink()  # which would tell that the file is another one
    with pytest.raises(CheckpointError, match=r"norm\.weight|cannot be read"):
        load_release(folder)


def test_a_flipped_bit_in_a_weight_is_seen(whole, tmp_path):
    folder = copy(whole, tmp_path / "r")
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-2] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged or from another"):
        load_release(folder)


def test_no_path_leaves_the_folder(whole, tmp_path):
    folder = copy(whole, tmp_path / "r")
    (tmp_path / "secret.json").write_text('{"seed": "secret"}')
    (folder / "provenance.json").unlink()
    (folder / "provenance.json").symlink_to("../secret.json")
    with pytest.raises(CheckpointError, match="leaves the release folder"):
        origin_of(folder)
    folder = copy(whole, tmp_path / "other")
    facts = json.loads((folder / "provenance.json").read_text())
    facts["fingerprints"]["file"] = "/dev/zero"
    (folder / "provenance.json").write_text(json.dumps(facts))
    assert len(read_seen(folder)) == 1  # there is one name for the file, whatever the record says
    (folder / "fingerprints.npz").unlink()
    (folder / "fingerprints.npz").symlink_to("/dev/zero")
    with pytest.raises(CheckpointError, match="missing or not the one"):
        read_seen(folder)


def test_the_cache_of_hugging_face_is_a_release_folder(whole, tmp_path):
    """Its snapshots are folders of links into `blobs`."""
    copy(whole, tmp_path / "blobs")
    snapshot = tmp_path / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    for file in (tmp_path / "blobs").iterdir():
        (snapshot / file.name).symlink_to(f"../../blobs/{file.name}")
    assert read_everything(snapshot, scores_of(whole)) == "loads"


def test_yaml_that_stands_for_endless_lists_is_not_followed(whole, tmp_path):
    folder = copy(whole, tmp_path / "r")
    lines = ["data:", "  a0: &a0 [x, x]", *(f"  a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 12))]
    (folder / "training.yaml").write_text("\n".join(lines))
    start = time.process_time()
    assert limits_of(folder) == PriorLimits()
    assert time.process_time() - start < 1


@pytest.mark.parametrize("name", ["a\0b", "x" * 5_000, "~nobody-of-that-name/x"])
def test_names_that_no_file_can_have(name):
    with pytest.raises(CheckpointError):
        load_release(name)


def test_reading_changes_nothing(whole):
    before = {p.name: p.read_bytes() for p in whole.iterdir()}
    read_everything(whole, scores_of(whole))
    assert {p.name: p.read_bytes() for p in whole.iterdir()} == before
