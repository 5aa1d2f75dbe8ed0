"""A forecast of a run: some of its shards, a sample of their records, and what that says of the whole.

The range is that of Student's t for the mean of the shards looked at, 95 %: shards differ from each other far more
than the records in one.  Duplicates between shards that were not looked at cannot be seen, so the kept share is an
upper bound where a recipe deduplicates.
"""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from pipelines.inputs import Shard, find_shards
from pipelines.mill import mill_shard
from pipelines.plan import Plan, make_plan
from pipelines.roots import check_inside
from pipelines.storage import Storage
from workers.progress import Progress

SHARDS = 5
SAMPLED_BYTES = 16 << 20
_T = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78}  # Student's t, 97.5 %, by degrees of freedom


def forecast(work: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Documents, kept share, bytes and time of a run, each with a range."""
    from workers.kinds import loaded_recipe

    request = dict(work["request"])
    shards = find_shards(request["inputs"], on_progress=lambda *_: progress.check())
    check_inside(shards, request["roots"])
    chosen = sorted(shards, key=lambda shard: hashlib.blake2b(shard.identity.encode()).digest())[:SHARDS]
    share = min(1.0, SAMPLED_BYTES / max(1, sum(shard.size for shard in chosen)))
    request["recipe"] = {**request["recipe"], "read": {**request["recipe"].get("read", {}), "sample_share": share}}
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
    """What a sample of one shard says of each of its bytes."""
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
        "records": milled.records / max(1, shard.size),
        "documents": documents / share / max(1, shard.size),
        "kept_share": milled.left / documents if documents else 0.0,
        "seconds": (whole - sampled + sampled / share) / max(1, shard.size),
    }


def _extrapolate(
    looked: Sequence[dict[str, float]], size: int, shards: int, share: float, workers: int
) -> dict[str, Any]:
    def of(name: str, factor: float, most: float = math.inf) -> dict[str, float]:
        low, middle, high = _mean([entry[name] for entry in looked], exact=len(looked) == shards and share == 1)
        return {"low": low * factor, "expected": middle * factor, "high": min(high * factor, most)}

    return {
        "shards": {"total": shards, "looked_at": len(looked), "sample_share": share},
        "bytes": size,
        "records": of("records", size),
        "documents": of("documents", size),
        "kept_share": of("kept_share", 1.0, 1.0),
        "seconds": of("seconds", size / workers),
    }


def _mean(values: Sequence[float], exact: bool) -> tuple[float, float, float]:
    """Low, mean and high; one shard alone says half to double."""
    middle = sum(values) / len(values)
    if exact:
        return middle, middle, middle
    if len(values) == 1:
        return middle / 2, middle, middle * 2
    spread = math.sqrt(sum((value - middle) ** 2 for value in values) / (len(values) - 1))
    reach = _T[min(len(values) - 1, max(_T))] * spread / math.sqrt(len(values))
    return max(0.0, middle - reach), middle, middle + reach
