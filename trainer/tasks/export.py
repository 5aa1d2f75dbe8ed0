"""A model as a folder of Hugging Face, written to ``exported`` (``trainer.exchange``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from trainer.exchange.export import CONTEXT, export_model
from trainer.exchange.write import TYPES, left_over
from trainer.job import Job
from trainer.model_folder import open_model
from trainer.ranges import POSITIVE, Checked, Range

FOLDER = "exported"


@dataclass(frozen=True, kw_only=True)
class Config(Checked):
    """How it is written.

    Attributes:
        dtype: of the weights; routers stay in fp32.
        context: tokens that other programs make room for; nothing in the model ends there.
        shard_gib: size of a file of weights, at most.
    """

    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    context: int = field(default=CONTEXT, metadata={"limit": POSITIVE})
    shard_gib: float = field(default=5.0, metadata={"limit": Range(1e-6, 1e6, "a size")})


def run(job: Job, config: Config) -> Mapping[str, Any]:
    """Write it."""
    job.check_roles(("model",))
    model = open_model(job.needed_model("model"))
    folder, dtype = job.output / FOLDER, {name: dtype for dtype, name in TYPES.items()}[config.dtype]
    shard_bytes = max(1, int(config.shard_gib * (1 << 30)))
    form = export_model(model, folder, dtype, context=config.context, shard_bytes=shard_bytes)
    files = list(folder.iterdir())
    return {
        "path": FOLDER, "architecture": form.architecture, "code": bool(form.code), "dtype": config.dtype,
        "files": len(files), "bytes": sum(file.stat().st_size for file in files),
        "left": len(left_over(form, model.module)),
    }  # fmt: skip
