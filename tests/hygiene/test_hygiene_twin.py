"""Hygiene over files decides as plain loops over all pairs do, whatever the policies are."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from pipelines.verify import verify_run
from tests.hygiene.sets import check, policies, recipe, records, run, shards_of

EXAMPLES = 36


@pytest.mark.parametrize("seed", range(EXAMPLES))
def test_pairs_as_by_brute_force(seed: int, tmp_path: Path) -> None:
    rng = random.Random(f"pairs-{seed}")
    chosen, found = policies(rng, seed), records(rng, "preferences", rng.randint(0, 60))
    ledger = run(recipe(tmp_path, "preferences", chosen), shards_of(tmp_path, found, 2), tmp_path / "out")
    check(ledger, found, chosen)
    verify_run(str(tmp_path / "out"))


