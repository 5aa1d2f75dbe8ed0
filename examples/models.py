"""Small models from the texts in ``fit/``, and how commands are shown as they run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def step(title: str, *command: str) -> None:
    """Show a command and run it; stop when it fails."""
    print(f"\n── {title}\n$ {' '.join(('gristmill', *command))}", flush=True)
    finished = subprocess.run([sys.executable, "-m", "cli.main", *command], check=False)
    if finished.returncode:
        sys.exit(finished.returncode)


def fit_models(models: Path) -> None:
    """Fit what is not there yet."""
    fit = HERE / "fit"
    for language in ("en", "zh"):
        target = models / "perplexity" / language
        if not (target / "model.arpa").exists():
            corpus = str(fit / f"corpus-{language}.jsonl")
            step(f"a language model for {language}", "fit", "perplexity", corpus, "-l", language, "-o", str(target))
    if not (models / "domain" / "config.json").exists():
        domain = str(models / "domain")
        # Little text, short and few times over, so that this takes minutes: see docs/domain.md for the real thing.
        small = ["--epochs", "4", "--max-tokens", "64", "--max-per-label", "50"]
        step("a domain classifier", "fit", "domain", str(fit / "domains.jsonl"), "-o", domain, *small)
