"""Eight threads read a release and predict while two write it: every answer is one of the two models', whole."""

import threading

import numpy as np
import torch
from weights import tiny_network

from icl import ICLClassifier
from icl.releases.folder import save_release

N_READERS, N_ANSWERS, N_SAVES = 8, 6, 12


def test_readers_see_one_release_or_the_other(tmp_path):
    folder = tmp_path / "release"
    one, other = tiny_network(), tiny_network()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.5)
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
