"""A forecast of a run: some of its shards, a sample of their records, and what that says of the whole.

Totals are ratios to bytes (for the kept share to documents), since shards differ in size; the range is that of a
ratio estimate from a sample without replacement with Student's t, 95 % (Cochran, Sampling Techniques, chapter 6).
Duplicates between shards that were not looked at cannot be seen, so the kept share is an upper bound where a recipe
deduplicates.
"""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from pipelines.inputs import Shard
from pipelines.kinds import with_sample_share
from pipelines.mill import mill_shard
from pipelines.plan import Plan, make_plan
from pipelines.storage import Storage
from workers.progress import Progress

SHARDS = 5
SAMPLED_BYTES = 16 << 20
_T = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78}  # Student's t, 97.5 %, by degrees of freedom


def forecast(work: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Documents, kept share, bytes and time of a run, each with a range."""
    from workers.kinds import find_inputs, loaded_recipe

    request = dict(work["request"])
    shards = find_inputs(request, progress)
    chosen = sorted(shards, key=lambda shard: hashlib.blake2b(shard.identity.encode()).digest())[:SHARDS]
    share = min(1.0, SAMPLED_BYTES / max(1, sum(shard.size for shard in chosen)))
    request["recipe"] = with_sample_share(request["recipe"], share)
    loaded = loaded_recipe(request, work["models_root"], [])
    plan = make_plan(loaded, chosen)
    progress.phase("sampling", len(chosen))
    looked = []
    with tempfile.TemporaryDirectory(prefix="forecast-") as scratch:
        for shard in chosen:
            looked.append(_look(plan, shard, Storage(scratch), share))
            progress.advance(1, shard.name)
    workers = work["workers"] or os.cpu_count() or 1
    return _extrapolate(looked, sum(shard.size for shard in shards), len(shards), share, workers)


def _look(plan: Plan, shard: Shard, storage: Storage, share: float) -> dict[str, float]:
    """What a sample of one shard says of all of it."""
    began = time.perf_counter()
    milled = mill_shard(plan, shard, storage)
    whole = time.perf_counter() - began
    links, _ = plan.chain(shard)
    manifest = storage.manifest(links[0].folder)
    assert manifest is not None
    documents = int((storage.manifest(links[1].folder) or {"rows": 0})["rows"])
    # Reading looks at every record, the stages behind it at the sample.
    sampled = sum(seconds for stage, seconds in milled.seconds.items() if stage != "read")
    return {
        "bytes": shard.size, "records": milled.records, "documents": documents / share, "kept": milled.left / share,
        "seconds": whole - sampled + sampled / share,
    }  # fmt: skip


def _extrapolate(
    looked: Sequence[dict[str, float]], size: int, shards: int, share: float, workers: int
) -> dict[str, Any]:
    def of(name: str, per: str, factor: float, sampled: bool, most: float = math.inf) -> dict[str, float]:
        low, middle, high = _ratio([(one[name], one[per]) for one in looked], shards, sampled)
        return {"low": low * factor, "expected": middle * factor, "high": min(high * factor, most)}

    part = share < 1
    return {
        "shards": {"total": shards, "looked_at": len(looked), "sample_share": share},
        "bytes": size,
        "records": {name: round(value) for name, value in of("records", "bytes", size, False).items()},
        "documents": {name: round(value) for name, value in of("documents", "bytes", size, part).items()},
        "kept_share": of("kept", "documents", 1.0, part, 1.0),
        "seconds": of("seconds", "bytes", size / workers, True),
    }


def _ratio(pairs: Sequence[tuple[float, float]], population: int, sampled: bool) -> tuple[float, float, float]:
    """Low, expected and high of the ratio of two sums over all shards; one shard of many says half to double.

    Args:
        pairs: both values of each shard that was looked at.
        population: number of shards.
        sampled: whether the values of a shard are estimates themselves, so that all shards do not say all.
    """
    count, below = len(pairs), sum(per for _, per in pairs)
    if below <= 0:
        return 0.0, 0.0, 0.0
    middle = sum(value for value, _ in pairs) / below
    if count == population and not sampled:
        return middle, middle, middle
    if count == 1:
        return middle / 2, middle, middle * 2
    unseen = 1.0 if sampled else 1 - count / population
    spread = sum((value - middle * per) ** 2 for value, per in pairs) * count / (count - 1)
    reach = _T[min(count - 1, max(_T))] * math.sqrt(unseen * spread) / below
    return max(0.0, middle - reach), middle, middle + reach
