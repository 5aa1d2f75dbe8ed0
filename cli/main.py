"""``gristmill``: commands and their options.  What they do lives elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from cli import (
    remote_datasets,
    remote_evaluations,
    remote_keys,
    remote_models,
    remote_pipelines,
    remote_runs,
    remote_schedules,
    remote_sources,
    remote_trainings,
    trainer_app,
)
from cli.failures import exit_codes

app = typer.Typer(
    name="gristmill",
    help="From raw crawl shards to a curated corpus, every record accounted for.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
fit_app = typer.Typer(help="Fit the small models that a recipe needs.", no_args_is_help=True)
app.add_typer(fit_app, name="fit")
index_app = typer.Typer(help="Indexes of published corpora, which later runs remember.", no_args_is_help=True)
app.add_typer(index_app, name="index")

Recipe = Annotated[
    str, typer.Argument(help="Recipe file, or a packaged recipe: crawl, fineweb, ccnet, preferences, instructions.")
]
Inputs = Annotated[
    list[str],
    typer.Argument(help="Shards: paths, folders, globs, URIs, or lists of paths (*.paths, *.paths.gz)."),
]
Models = Annotated[
    Optional[Path],  # noqa: UP045 - typer reads the annotation at run time
    typer.Option(help="Folder for relative model paths.  Default: GRISTMILL_MODELS, then the recipe's folder."),
]
Base = Annotated[Optional[str], typer.Option(help="What the lines of a list of paths are relative to.")]  # noqa: UP045
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")]


@app.command()
def run(
    recipe: Recipe,
    inputs: Inputs,
    output: Annotated[str, typer.Option("--output", "-o", help="Folder or URI of the run.")],
    backend: Annotated[str, typer.Option(help="inline (this machine) or ray.")] = "inline",
    workers: Annotated[int, typer.Option(min=0, help="Shards at once; 0 for one per processor.")] = 0,
    ray_address: Annotated[Optional[str], typer.Option(help="Address of a Ray cluster.")] = None,  # noqa: UP045
    models: Models = None,
    base: Base = None,
    quiet: Quiet = False,
) -> None:
    """Run a recipe over shards; go on with a run that was interrupted; do nothing when it is finished."""
    with exit_codes():
        from cli.commands import run_command

        run_command(recipe, inputs, output, backend, workers, ray_address, models, base, quiet)


@app.command()
def explain(
    recipe: Recipe,
    inputs: Annotated[Optional[list[str]], typer.Argument(help="Shards, to plan for them too.")] = None,  # noqa: UP045
    models: Models = None,
    base: Base = None,
) -> None:
    """Show the whole recipe, where each value comes from, the plan, the models, and the disk that a run needs."""
    with exit_codes():
        from cli.explain import explain_command

        explain_command(recipe, inputs or [], models, base)


@app.command()
def verify(
    directory: Annotated[str, typer.Argument(help="A finished run.")],
    shallow: Annotated[bool, typer.Option("--shallow", help="Skip digests and recomputed similarities.")] = False,
    quiet: Quiet = False,
) -> None:
    """Reconcile ledger, manifest and files; prove every duplicate again from the texts.  Fails on any difference."""
    with exit_codes():
        from cli.commands import verify_command

        verify_command(directory, shallow, quiet)


@app.command()
def inspect(
    directory: Annotated[str, typer.Argument(help="A finished run.")],
    reason: Annotated[
        Optional[str], typer.Option(help="Samples of one reason: a rule, stage.rule or error class.")  # noqa: UP045
    ] = None,
    near_threshold: Annotated[
        Optional[str], typer.Option(help="Documents nearest to a rule's threshold, on both sides.")  # noqa: UP045
    ] = None,
    id: Annotated[Optional[str], typer.Option(help="One document's whole history.")] = None,  # noqa: UP045
    samples: Annotated[int, typer.Option(min=1, max=1000, help="How many samples.")] = 5,
) -> None:
    """Look at a run: the funnel, every rule, samples with their reasons, one document's history."""
    with exit_codes():
        from cli.inspect import inspect_command

        inspect_command(directory, reason, near_threshold, id, samples)


@fit_app.command("perplexity")
def fit_perplexity(
    corpus: Annotated[list[Path], typer.Argument(help="Good text: JSONL with 'text', plain text, Parquet.")],
    language: Annotated[str, typer.Option("--language", "-l", help="Language code, such as en or zh.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the model.")],
    order: Annotated[int, typer.Option(min=2, max=6, help="Length of the longest n-gram.")] = 5,
    vocabulary: Annotated[
        int, typer.Option(min=100, help="SentencePiece pieces, at most; a small corpus gets fewer.")
    ] = 65_536,
    held_out: Annotated[float, typer.Option(min=0.0, max=0.5, help="Share that only measures percentiles.")] = 0.05,
    prune: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Least counts by length of n-gram, as lmplz has them: '0 0 1'.  Default: by corpus size."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the held-out split.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Train SentencePiece and a modified Kneser-Ney model; write the percentiles of a held-out part."""
    with exit_codes():
        from cli.commands import fit_perplexity_command

        fit_perplexity_command(corpus, language, output, order, vocabulary, held_out, prune, seed, quiet)


@fit_app.command("domain")
def fit_domain(
    labelled: Annotated[list[Path], typer.Argument(help="Labelled text: JSONL or Parquet with 'text' and 'label'.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the classifier.")],
    base: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Base encoder (Hugging Face folder).  Default: the packaged MiniLM, where installed."),
    ] = None,
    text_field: Annotated[str, typer.Option(help="Field with the text.")] = "text",
    label_field: Annotated[str, typer.Option(help="Field with the label.")] = "label",
    epochs: Annotated[int, typer.Option(min=1, max=100, help="Passes over the training part.")] = 3,
    max_tokens: Annotated[int, typer.Option(min=8, help="Tokens read of each text.")] = 128,
    max_per_label: Annotated[Optional[int], typer.Option(min=2, help="At most this many texts a label.")] = None,  # noqa: UP045
    seed: Annotated[int, typer.Option(help="Seed of split, order and new weights.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Fine-tune an encoder on labelled text; report accuracy and confusions on a held-out part."""
    with exit_codes():
        from cli.commands import fit_domain_command

        fit_domain_command(
            labelled, output, base, text_field, label_field, epochs, max_tokens, max_per_label, seed, quiet
        )


IndexFolder = Annotated[str, typer.Argument(help="Folder or URI of the index, or of a run that has one.")]


@index_app.command("add")
def index_add(
    index: Annotated[str, typer.Argument(help="Folder or URI of the index; made when it is not there.")],
    runs: Annotated[list[str], typer.Argument(help="Finished runs whose corpora are added.")],
    name: Annotated[Optional[str], typer.Option(help="Name of the corpus.  Default: its recipe's.")] = None,  # noqa: UP045
    quiet: Quiet = False,
) -> None:
    """Add the corpora of finished runs, so that a recipe can remember them (deduplication.earlier)."""
    with exit_codes():
        from cli.indexes import add_command

        add_command(index, runs, name, quiet)


@index_app.command("show")
def index_show(index: IndexFolder) -> None:
    """Show settings, corpora and sorted runs of an index."""
    with exit_codes():
        from cli.indexes import show_command

        show_command(index)


@index_app.command("compact")
def index_compact(index: IndexFolder) -> None:
    """Merge the sorted runs of an index into one, without retracted documents."""
    with exit_codes():
        from cli.indexes import compact_command

        compact_command(index)


@index_app.command("retract")
def index_retract(
    index: IndexFolder, ids: Annotated[list[str], typer.Argument(help="Ids of documents that count no more.")]
) -> None:
    """Take documents out of an index; runs that named them decide anew about their duplicates when run again."""
    with exit_codes():
        from cli.indexes import retract_command

        retract_command(index, ids)


@app.command()
def twins(
    index: IndexFolder,
    text_file: Annotated[Path, typer.Option("--text-file", "-f", help="File with the text, UTF-8; - for input.")],
    above: Annotated[str, typer.Option(help="Similarity that a twin must exceed.")] = "0.8",
) -> None:
    """List the near-duplicates of a text in an index, each with its exact similarity."""
    with exit_codes():
        from cli.indexes import twins_command

        twins_command(index, text_file, above)


for _command in trainer_app.COMMANDS:
    app.command(_command.__name__.rstrip("_"))(_command)  # "import" is a word of Python

Home = Annotated[Optional[Path], typer.Option(help="Folder of database and runs.  Default: ./gristmill-home.")]  # noqa: UP045
Host = Annotated[Optional[str], typer.Option(help="Address to bind to; anything but loopback needs a key.")]  # noqa: UP045
Port = Annotated[Optional[int], typer.Option(min=0, max=65535, help="Default: 8321.")]  # noqa: UP045


@app.command()
def serve(host: Host = None, port: Port = None, home: Home = None, models: Models = None) -> None:
    """Run the whole service here: API, controller, SQLite.  Settings: docs/service.md."""
    with exit_codes():
        from cli.service import serve_command

        serve_command(host, port, home, models, "all")


@app.command()
def api(host: Host = None, port: Port = None, home: Home = None, models: Models = None) -> None:
    """Run the API alone, on the database of GRISTMILL_DATABASE_URL."""
    with exit_codes():
        from cli.service import serve_command

        serve_command(host, port, home, models, "api")


@app.command()
def controller(home: Home = None, models: Models = None) -> None:
    """Run a controller alone, on the database of GRISTMILL_DATABASE_URL; any number may run."""
    with exit_codes():
        from cli.service import serve_command

        serve_command(None, None, home, models, "controller")


@app.command()
def migrate() -> None:
    """Bring the database of GRISTMILL_DATABASE_URL to the schema of this version."""
    with exit_codes():
        from cli.service import migrate_command

        migrate_command()


app.add_typer(remote_runs.app, name="runs")
app.add_typer(remote_schedules.app, name="schedules")
app.add_typer(remote_datasets.app, name="datasets")
app.add_typer(remote_sources.app, name="sources")
app.add_typer(remote_pipelines.app, name="pipelines")
app.add_typer(remote_trainings.app, name="trainings")
app.add_typer(remote_evaluations.app, name="evaluations")
app.add_typer(remote_models.app, name="models")
app.add_typer(remote_keys.app, name="keys")


@remote_keys.app.command("generate")
def keys_generate() -> None:
    """Print a random key, for GRISTMILL_ADMIN_KEY."""
    with exit_codes():
        from cli.service import generate_command

        generate_command()


def main() -> None:
    """Entry point."""
    app(prog_name="gristmill")


if __name__ == "__main__":
    main()
