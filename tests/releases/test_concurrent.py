"""A release that is replaced while it is read: every answer is one of the two models', whole."""

import threading

import numpy as np
import pytest
import torch
from weights import tiny_network

from icl import ICLClassifier
from icl.atomic import replacing_folder
from icl.releases import folder as release
from icl.releases.folder import load_release, save_release
from icl.releases.names import PROVENANCE, WEIGHTS, CheckpointError
from icl.releases.steady import read_steadily

N_READERS, N_ANSWERS, N_SAVES = 8, 6, 12


def two_networks():
    one, other = tiny_network(), tiny_network()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.5)
    return one, other


def test_readers_see_one_release_or_the_other(tmp_path):
    folder = tmp_path / "release"
    one, other = two_networks()
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3))
    y = (X[:, 0] > 0).astype(int)

    def answer() -> np.ndarray:
        return ICLClassifier(str(folder), n_estimators=1).fit(X, y).predict_proba(X[:10])

    expected = []
    for model in (one, other):
        save_release(model, folder, {"seed": 0}, dtype=torch.float32)
        expected.append(answer())
    assert np.abs(expected[0] - expected[1]).max() > 1e-3
    faults: list[Exception] = []
    seen: list[int] = []

    def read() -> None:
        try:
            for _ in range(N_ANSWERS):
                got = answer()
                fits = [np.allclose(got, e, rtol=0, atol=1e-5) for e in expected]
                assert any(fits), "an answer of neither model"
                seen.append(fits.index(True))
        except Exception as fault:
            faults.append(fault)

    def write(model) -> None:
        try:
            for _ in range(N_SAVES):
                save_release(model, folder, {"seed": 0}, dtype=torch.float32)
        except Exception as fault:
            faults.append(fault)

    threads = [threading.Thread(target=read) for _ in range(N_READERS)]
    threads += [threading.Thread(target=write, args=(model,)) for model in (one, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert len(seen) == N_READERS * N_ANSWERS
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


@pytest.mark.parametrize("step", ["_read_config", "TensorFile", "_check_unchanged"])
def test_a_release_replaced_between_two_of_its_files_is_read_again(tmp_path, monkeypatch, step):
    folder = tmp_path / "release"
    one, other = two_networks()
    save_release(one, folder, {"seed": 0}, dtype=torch.float32)
    plain, calls = getattr(release, step), []

    def replaced(*args):
        if not calls:
            save_release(other, folder, {"seed": 1}, dtype=torch.float32)
        calls.append(1)
        return plain(*args)

    monkeypatch.setattr(release, step, replaced)
    read = load_release(folder)
    assert len(calls) == 2
    expected = other.state_dict()
    assert all(torch.equal(w, expected[name]) for name, w in read.state_dict().items())


def test_damage_is_said_at_once_and_not_tried_again(tmp_path):
    folder = save_release(tiny_network(), tmp_path / "release", {"seed": 0}, dtype=torch.float32)
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"not the file that {PROVENANCE}"):
        load_release(folder)


def test_a_folder_that_never_rests_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("icl.releases.steady._PAUSE_SECONDS", 0)
    monkeypatch.setattr("icl.releases.steady._ATTEMPTS", 5)
    folder, reads = tmp_path / "folder", []

    def read():
        with replacing_folder(folder) as staging:
            (staging / "file").write_text(str(len(reads)))
        reads.append(1)

    with pytest.raises(CheckpointError, match="replaced 5 times while it was read"):
        read_steadily(folder, read)
    assert len(reads) == 5
