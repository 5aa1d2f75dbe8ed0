"""Fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Tests say what is right, never how fast: a loaded machine, or a kernel that is compiled first, is no failure.
settings.register_profile("gristmill", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gristmill")

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")  # as the classifier has it, whichever test comes first
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real crawl and text; tests that ask for it are skipped where there is none."""
    folder = os.environ.get("GRISTMILL_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("GRISTMILL_DATA is not set")
    return Path(folder)
