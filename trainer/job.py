"""A job: what the service, or a person, asks of the trainer (docs/trainings.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from trainer.config import from_dict
from trainer.errors import ConfigError
from trainer.ranges import POSITIVE, Checked, Range
from trainer.stages.direct import DirectConfig
from trainer.stages.reward import RewardConfig
from trainer.train.loop import LoopConfig

Stage = Literal["pretrain", "sft", "reward", "dpo"]
KINDS: dict[str, str] = {"pretrain": "corpus", "sft": "instructions", "reward": "preferences", "dpo": "preferences"}


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig(Checked):
    """The tokenizer of a model that starts from nothing.

    Attributes:
        kind: bytes as they are, or byte pairs fitted on the datasets of this training.
        size: of a fitted vocabulary, special tokens not counted.
    """

    kind: Literal["bytes", "bpe"] = "bpe"
    size: int = field(default=16384, metadata={"limit": Range(256, 1 << 20)})


@dataclass(frozen=True, kw_only=True)
class DataConfig(Checked):
    """How datasets become batches.

    Attributes:
        tokens: of a row, or the longest pair.
        rows: of a batch: packed rows, or rankings.
        held_out: share that is held out where the dataset does not say.
        weights: by ``language`` and ``domain``: how often documents of a group are seen for once that others are.
        evaluation_batches: of what is held out.
        check_digests: read all files once more to see that they are what was published.
    """

    tokens: int = field(default=1024, metadata={"limit": POSITIVE})
    rows: int = field(default=8, metadata={"limit": POSITIVE})
    held_out: float = field(default=0.01, metadata={"limit": Range(0, 0.9, "a share")})
    weights: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    evaluation_batches: int = field(default=50, metadata={"limit": POSITIVE})
    check_digests: bool = False


@dataclass(frozen=True, kw_only=True)
class JobConfig(Checked):
    """Everything that a training may be told.

    Attributes:
        stage: what is trained.
        model: ``family`` and fields of its configuration, for a model that starts from nothing.
        start: folder of the model to start from.
        tokenizer, data, loop: see there.
        reward, dpo: of these stages.
    """

    stage: Stage
    model: Mapping[str, Any] | None = None
    start: str | None = None
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    data: DataConfig = field(default_factory=DataConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    dpo: DirectConfig = field(default_factory=DirectConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.model is None) == (self.start is None):
            raise ConfigError("/model", "give 'model' for one that starts from nothing, or 'start' to go on from one")
        if self.stage == "dpo" and self.start is None:
            raise ConfigError("/start", "direct preference optimization starts from a model that was tuned")


@dataclass(frozen=True)
class Job:
    """A checked job.

    Attributes:
        datasets: as given: name, version, role, location, manifest_digest.
        config: checked.
        output: folder.
    """

    datasets: tuple[Mapping[str, Any], ...]
    config: JobConfig
    output: Path


def read_job(plain: Mapping[str, Any]) -> Job:
    """Check a job.

    Raises:
        ConfigError: naming the field.
    """
    datasets = plain.get("datasets")
    if not isinstance(datasets, list) or not datasets:
        raise ConfigError("/datasets", "a training needs at least one dataset version")
    for at, dataset in enumerate(datasets):
        if not isinstance(dataset, Mapping) or "location" not in dataset:
            raise ConfigError(f"/datasets/{at}/location", "a dataset has a location")
    if not isinstance(plain.get("output"), str):
        raise ConfigError("/output", "the folder to write to is missing")
    return Job(tuple(datasets), from_dict(JobConfig, plain.get("config", {}), "/config"), Path(plain["output"]))
