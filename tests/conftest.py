"""Fixtures that several test files share. Keep it small."""

import gc
import os
import random
from pathlib import Path

import pytest

# Weights of new networks come from the ambient generators, so that these begin every fixture and test from one state. A
# law holds for other states too: `ICL_TEST_SEED=1 make test` looks.
SEED = int(os.environ.get("ICL_TEST_SEED", "0"))

# The files that take longest, the longest first: `make test` deals files to two processes in the order of
# collection, and one that begins last is waited for. A file that is not here is right, only perhaps late.
LONGEST = (
    "test_distributed", "test_types", "test_transcripts", "test_estimand_contract", "test_infer_design", "test_sklearn",
    "test_demo", "test_training", "test_finetune", "test_infer_learned_weights", "test_checkpoint", "test_configs",
    "test_impute", "test_infer_coverage", "test_scale", "test_infer_bootstrap", "test_ensemble", "test_random_analyses",
    "test_forward", "test_contract", "test_conformal", "test_frames", "test_predict_command", "test_files",
    "test_companions", "test_filter", "test_infer_command", "test_estimator", "test_synthetic_commands",
    "test_finetune_inference", "test_realism", "test_saved", "test_weights", "test_in_estimators", "test_purity",
    "test_prior_commands", "test_timing", "test_equalize", "test_validation", "test_schema", "test_infer_blocks",
    "test_distillation", "test_infer_stream", "test_posterior", "test_warp", "test_data", "test_safe_names",
    "test_pseudo_outcomes", "test_concurrent", "test_companion_columns", "test_benchmarks", "test_column",
    "test_adversarial", "test_infer_small_sample", "test_read_table", "test_fingerprint", "test_finetune_single",
    "test_docs", "test_synthetic", "test_infer_synsurr", "test_patterns", "test_fuzz", "test_effect", "test_precision",
)  # fmt: skip
# Files whose tests fork from a server that has imported torch and Lightning: one process runs them, and one server.
FORKING = {"test_distributed", "test_finetune_distributed", "test_checkpoint_io", "test_export"}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class FilesThatForkTogether(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return "forking" if Path(file).stem in FORKING else file

    return FilesThatForkTogether(config, log)


def begin_from_the_seed():
    import numpy as np  # here, for the process that only hands tests to others needs neither of them
    import torch

    random.seed(SEED)
    np.random.seed(SEED)  # noqa: NPY002 - what libraries draw from
    # Not torch.manual_seed, which notes the whole stack for every kind of accelerator: .6 ms for each test and fixture.
    torch.default_generator.manual_seed(SEED)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(SEED)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup():
    begin_from_the_seed()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call():
    begin_from_the_seed()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection():
    """What is imported stays: looking through all of it for garbage, again and again, took more than a second, and in
    the tests a tenth of their time. Garbage of tests is looked for less often than 700 objects apart, too."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(20_000, 10, 10)
        gc.enable()


def pytest_collection_modifyitems(items):
    import torch

    # Threads that wait for one another on shared cores lose more than they bring; `make test` runs two processes.
    torch.set_num_threads(1)
    place = {name: k for k, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(Path(item.path).stem, len(place)))


@pytest.fixture(scope="session")
def seeded():
    """seeded(n): a generator of its own, so that no test draws from ambient randomness."""
    import torch

    return lambda seed: torch.Generator().manual_seed(seed)


@pytest.fixture(scope="session")
def tiny_model():
    """A random TabularTransformer of some 12k parameters; at most 20 features and 5 classes. Do not change it."""
    from weights import tiny_network

    return tiny_network()


@pytest.fixture(scope="session")
def tiny_release(tiny_model, tmp_path_factory):
    """Path of `tiny_model` as a release folder, stored in float32. Do not change it."""
    import torch

    from icl.releases.folder import save_release

    return save_release(tiny_model, tmp_path_factory.mktemp("release") / "tiny", {"seed": 0}, dtype=torch.float32)


@pytest.fixture(scope="session")
def tiny_reader(tiny_model, seeded):
    """A reader of `tiny_model` with weights of its own, unlike the network's. Do not change it."""
    from weights import SHORT, perturbed_reader

    return perturbed_reader(tiny_model, SHORT, seeded(2))
