"""The demo: fit small models, run a recipe on the sample crawl, and show what came of it.

What you type for your own data is what is printed here, command by command.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def step(title: str, *command: str) -> None:
    """Show a command and run it; stop the demo when it fails."""
    print(f"\n── {title}\n$ {' '.join(('gristmill', *command))}", flush=True)
    finished = subprocess.run([sys.executable, "-m", "cli.main", *command], check=False)
    if finished.returncode:
        sys.exit(finished.returncode)


def main() -> None:
    """Fit, run, verify, and say what to try next."""
    output = Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output")
    models, fit, crawl = output / "models", HERE / "fit", HERE / "crawl"
    began = time.monotonic()
    for language in ("en", "zh"):
        target = models / "perplexity" / language
        if not (target / "model.arpa").exists():
            corpus = str(fit / f"corpus-{language}.jsonl")
            step(f"a language model for {language}", "fit", "perplexity", corpus, "-l", language, "-o", str(target))
    if not (models / "domain" / "config.json").exists():
        domain = str(models / "domain")
        # Little text, short and few times over, so that the demo takes minutes: see docs/domain.md for the real thing.
        small = ["--epochs", "4", "--max-tokens", "64", "--max-per-label", "50"]
        step("a domain classifier", "fit", "domain", str(fit / "domains.jsonl"), "-o", domain, *small)
    run = str(output / "run")
    recipe = str(HERE / "recipe.yaml")
    step("the mill", "run", recipe, str(crawl), "-o", run, "--models", str(models), "--workers", "2")
    step("the proof", "verify", run)
    print(
        f"""
── {time.monotonic() - began:.0f} seconds.  Try next:
gristmill inspect {run}                                  every rule and what it took away
gristmill inspect {run} --reason near                    near-duplicates and their witnesses
gristmill inspect {run} --near-threshold language.language-score
gristmill explain {recipe} --models {models}   the whole recipe, and where each value comes from
gristmill run {recipe} {crawl} -o {run} --models {models}   does nothing: it is finished
"""
    )


if __name__ == "__main__":
    main()
