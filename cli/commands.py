"""What ``run``, ``verify`` and ``fit`` do: call the house and say how it went."""

from __future__ import annotations

import os
from pathlib import Path

from rich.text import Text

from cli.progress import bars, errors
from cli.show import line, show_funnel, terminal
from curation.errors import InputError

console = terminal()


def run_command(
    recipe: str, inputs: list[str], output: str, backend: str, workers: int, ray_address: str | None,
    models: Path | None, base: str | None, quiet: bool,
) -> None:  # fmt: skip
    """``gristmill run``."""
    from pipelines.index import prepare_earlier
    from pipelines.inputs import find_shards
    from pipelines.plan import plan_for
    from pipelines.publish import read_statistics
    from pipelines.recipe import load_recipe
    from pipelines.storage import Storage
    from workers.driver import make_executor
    from workers.driver import run as run_plan

    if backend not in ("inline", "ray"):
        raise InputError(f"unknown backend {backend!r}; known are inline and ray", "--backend")
    if ray_address is not None and backend != "ray":
        raise InputError("needs --backend ray", "--ray-address")
    count = workers or os.cpu_count() or 1
    loaded = load_recipe(recipe, models)
    with bars(quiet) as shown:
        prepare_earlier(loaded, shown.to("indexing earlier corpora"))
        plan = plan_for(loaded, find_shards(inputs, base, shown.to("reading digests")), output)
        result = run_plan(plan, output, lambda: make_executor(backend, count, ray_address), shown, inputs)  # type: ignore[arg-type]
    if result.did_nothing:
        console.print("This run is finished already; nothing was done.")
    elif not any(result.computed.values()):
        console.print("Every shard was milled already.")
    else:
        computed = ", ".join(f"{stage} {number}" for stage, number in result.computed.items())
        errors.print(f"computed (stage and number of shards): {computed}", soft_wrap=True)
    show_funnel(console, read_statistics(Storage(output)))
    console.print(f"\ncorpus  {output}/corpus\nledger  {output}/ledger", soft_wrap=True)
    console.print(f"next    gristmill inspect {output}    gristmill verify {output}", soft_wrap=True)


def verify_command(directory: str, shallow: bool, quiet: bool) -> None:
    """``gristmill verify``."""
    from pipelines.verify import verify_run

    with bars(quiet) as shown:
        checked = verify_run(directory, deep=not shallow, on_progress=shown.to("verifying"))
    for said in checked:
        console.print(Text.assemble(("✓", "green"), " ", line(said)), soft_wrap=True)


def fit_perplexity_command(
    corpus: list[Path], language: str, output: Path, order: int, vocabulary: int, held_out: float,
    prune: str | None, seed: int, quiet: bool,
) -> None:  # fmt: skip
    """``gristmill fit perplexity``."""
    from curation.perplexity.fit import fit_perplexity

    if prune is not None and not all(part.isdigit() for part in prune.split()):
        raise InputError("give whole numbers separated by spaces, such as '0 0 1'", "--prune")
    counts = [int(part) for part in prune.split()] if prune is not None else None
    with bars(quiet) as shown:
        report = fit_perplexity(
            language, corpus, output, order=order, vocabulary_size=vocabulary, held_out_share=held_out,
            prune=counts, seed=seed,
            on_progress=lambda done, total, what: shown.to(what)(done, total),
        )  # fmt: skip
    console.print(str(report), soft_wrap=True)


def fit_domain_command(
    labelled: list[Path], output: Path, base: Path | None, text_field: str, label_field: str, epochs: int,
    max_tokens: int, max_per_label: int | None, seed: int, quiet: bool,
) -> None:  # fmt: skip
    """``gristmill fit domain``."""
    from curation.domain import FitOptions, fit_domain, packaged_minilm

    options = FitOptions(
        epochs=epochs, max_tokens=max_tokens, max_per_label=max_per_label, seed=seed, threads=os.cpu_count() or 1
    )
    with bars(quiet) as shown:
        evaluation = fit_domain(
            labelled, base or packaged_minilm(), output, options=options, text_field=text_field,
            label_field=label_field, on_progress=lambda at: shown.to("training")(at.step, at.steps),
        )  # fmt: skip
    held_out, documents = evaluation["held_out"], evaluation["documents"]
    training = sum(documents["training"].values())
    console.print(f"{output}: classifier of {len(held_out['labels'])} labels")
    console.print(
        f"trained on {training:,} documents; on {held_out['documents']:,} held out: "
        f"accuracy {held_out['accuracy']:.1%}, macro-F1 {held_out['macro_f1']:.1%}"
    )
    console.print(f"confusions: {output}/confusion.md")
