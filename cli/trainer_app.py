"""Commands around models: train, ask, compare, take along.  What they do lives elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from cli.config_file import read_config
from cli.failures import exit_codes

MODEL = "Folder of a model, such as OUTPUT/final; with --url NAME or NAME@VERSION."
Model = Annotated[str, typer.Argument(help=MODEL)]
Datasets = Annotated[
    Optional[list[str]],  # noqa: UP045 - typer reads the annotation at run time
    typer.Option(
        "--dataset", "-d", help="Folder of a published version; with --url NAME@VERSION.  ROLE=… gives it a role."
    ),
]
Config = Annotated[Optional[Path], typer.Option("--config", "-c", help="JSON or YAML: fields of the task.")]  # noqa: UP045
Set = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--set", help="A field on top, such as sampling.temperature=0.  May be repeated."),
]
Output = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--output", "-o", help="Folder to keep what is written; by default nothing is kept."),
]
Url = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--url", help="A service that shall do it, with its own versions of models and datasets."),
]
Key = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--key", help="API key; better in GRISTMILL_KEY, since others see a command line."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Json = Annotated[bool, typer.Option("--json", help="Answer in JSON, for programs.")]


def train(
    config: Annotated[Path, typer.Argument(help="JSON or YAML: stage, model, tokenizer, data, loop.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the training; the model will be OUTPUT/final.")
    ],
    datasets: Datasets = None,
    start: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Folder of the model to go on from; with --url NAME@VERSION."),
    ] = None,
    models: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--model", help="ROLE=… of another model, such as reward=… or tokenizer=… .  May be repeated."),
    ] = None,
    changes: Set = None,
    url: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="A service whose versions are fetched below OUTPUT/given and trained on here."),
    ] = None,
    key: Key = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train a model on published versions; go on with a training that was interrupted; do nothing when it is done."""
    with exit_codes():
        from cli.trainer_commands import Where, train_command

        given = [*([start] if start is not None else []), *(models or [])]
        train_command(Where(url, key, None, quiet, as_json), config, changes or [], datasets or [], given, output)


def generate(
    model: Model,
    prompts: Annotated[Optional[list[str]], typer.Option("--prompt", "-p", help="May be repeated.")] = None,  # noqa: UP045
    file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--prompts", help="File: a prompt a line, or JSON lines (.jsonl); - for input."),
    ] = None,
    datasets: Datasets = None,
    samples: Annotated[Optional[int], typer.Option(min=1, help="Answers to each prompt.")] = None,  # noqa: UP045
    new_tokens: Annotated[Optional[int], typer.Option(min=1, help="Of an answer, at most.")] = None,  # noqa: UP045
    temperature: Annotated[Optional[float], typer.Option(min=0.0, help="0: always the likeliest token.")] = None,  # noqa: UP045
    seed: Annotated[Optional[int], typer.Option(help="Of the random numbers.")] = None,  # noqa: UP045
    config: Config = None,
    changes: Set = None,
    output: Output = None,
    url: Url = None,
    key: Key = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Let a model answer prompts, or go on with texts."""
    with exit_codes():
        from cli.trainer_commands import Where, generate_command

        named = {
            "samples": samples, "sampling.new_tokens": new_tokens, "sampling.temperature": temperature,
            "sampling.seed": seed,
        }  # fmt: skip
        found = _config(config, changes, named)
        generate_command(Where(url, key, output, quiet, as_json), model, prompts or [], file, datasets or [], found)


def perplexity(
    model: Model,
    datasets: Datasets = None,
    first: Annotated[Optional[int], typer.Option(min=1, help="Documents of each dataset; default: all.")] = None,  # noqa: UP045
    config: Config = None,
    changes: Set = None,
    output: Output = None,
    url: Url = None,
    key: Key = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure how well a model foretells the documents of published versions."""
    with exit_codes():
        from cli.trainer_commands import Where, perplexity_command

        found = _config(config, changes, {"first": first})
        perplexity_command(Where(url, key, output, quiet, as_json), model, datasets or [], found)


def compare(
    models: Annotated[Optional[list[str]], typer.Argument(metavar="A B", help=f"Two models.  {MODEL}")] = None,  # noqa: UP045
    datasets: Datasets = None,
    reward: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Reward model that judges their answers; by default their losses are compared."),
    ] = None,
    outcomes: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Outcomes of a live test instead: CSV or JSON lines with unit, variant, outcome."),
    ] = None,
    margin: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(min=0.0, help="Differences up to it do not matter: the cheaper one is then chosen."),
    ] = None,
    config: Config = None,
    changes: Set = None,
    output: Output = None,
    url: Url = None,
    key: Key = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Say which of two models to use, or that it is not known yet."""
    with exit_codes():
        from cli.trainer_commands import Where, compare_command

        found = _config(config, changes, {"rule.margin": margin})
        where = Where(url, key, output, quiet, as_json)
        compare_command(where, models or [], reward, outcomes, datasets or [], found)


def cost(
    models: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(help=f"{MODEL}  None, where the field `fresh` describes some."),
    ] = None,
    lengths: Annotated[Optional[str], typer.Option(help="Tokens of a prompt: 512,2048.")] = None,  # noqa: UP045
    batches: Annotated[Optional[str], typer.Option(help="Rows at once: 1,8.")] = None,  # noqa: UP045
    config: Config = None,
    changes: Set = None,
    output: Output = None,
    url: Url = None,
    key: Key = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure what models cost to use: time, memory, operations."""
    with exit_codes():
        from cli.trainer_commands import Where, cost_command

        lists = {"lengths": lengths, "batches": batches}
        found = _config(config, changes, {name: f"[{text}]" for name, text in lists.items() if text is not None})
        cost_command(Where(url, key, output, quiet, as_json), models or [], found)


def export(
    model: Annotated[str, typer.Argument(help="Folder of a model, such as OUTPUT/final.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder; what is handed to transformers will be OUTPUT/exported.")
    ],
    dtype: Annotated[Optional[str], typer.Option(help="float32 (default), bfloat16 or float16.")] = None,  # noqa: UP045
    context: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Tokens that other programs make room for; default: 4096."),
    ] = None,
    config: Config = None,
    changes: Set = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write a model as a folder of Hugging Face, with its tokenizer and chat template."""
    with exit_codes():
        from cli.trainer_commands import export_command

        found = _config(config, changes, {"dtype": dtype, "context": context})
        export_command(model, output, found, quiet, as_json)


def import_(
    folder: Annotated[str, typer.Argument(help="Folder of Hugging Face: config.json, safetensors, tokenizer.json.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder; the model will be OUTPUT/final.")],
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Read a folder of Hugging Face as a model to go on from; nothing in it is run."""
    with exit_codes():
        from cli.trainer_commands import import_command

        import_command(folder, output, quiet, as_json)


def advise(
    task: Annotated[Optional[str], typer.Option(help="What the model is for, such as chat or summarisation.")] = None,  # noqa: UP045
    document_tokens: Annotated[Optional[str], typer.Option(help="How long is what it reads at once.")] = None,  # noqa: UP045
    domain: Annotated[Optional[str], typer.Option(help="What it is about, such as general or law.")] = None,  # noqa: UP045
    languages: Annotated[Optional[str], typer.Option(help="en,zh or, with shares, en=3,zh=1.")] = None,  # noqa: UP045
    corpus_tokens: Annotated[Optional[str], typer.Option(help="Text to pretrain on, such as 5e9.")] = None,  # noqa: UP045
    instructions: Annotated[Optional[str], typer.Option(help="Conversations that show what to do.")] = None,  # noqa: UP045
    preferences: Annotated[Optional[str], typer.Option(help="Pairs of a better and a worse answer.")] = None,  # noqa: UP045
    gpus: Annotated[Optional[str], typer.Option(help="How many; 0 for a CPU alone.")] = None,  # noqa: UP045
    gpu: Annotated[Optional[str], typer.Option(help="Of which kind, such as H100.")] = None,  # noqa: UP045
    cpu_memory_gib: Annotated[Optional[str], typer.Option(help="Memory of the CPU.")] = None,  # noqa: UP045
    days: Annotated[Optional[str], typer.Option(help="How long pretraining may take.")] = None,  # noqa: UP045
    latency_ms: Annotated[Optional[str], typer.Option(help="How soon the next token must come; 0: no matter.")] = None,  # noqa: UP045
    batch: Annotated[Optional[str], typer.Option(help="How many are served at once.")] = None,  # noqa: UP045
    as_json: Json = False,
) -> None:
    """Say which family, size and trainings to begin with; without --task, a terminal is asked one thing at a time."""
    given = {name: value for name, value in locals().items() if name != "as_json"}
    with exit_codes():
        from cli.advice import advise_command

        advise_command(given, as_json)


def _config(file: Path | None, changes: list[str] | None, named: dict[str, Any]) -> dict[str, Any]:
    """Fields from a file, those with options of their own, and ``--set``, which has the last word."""
    own = [f"{name}={value}" for name, value in named.items() if value is not None]
    return read_config(file, [*own, *(changes or [])])


COMMANDS = (train, generate, perplexity, compare, cost, export, import_, advise)
