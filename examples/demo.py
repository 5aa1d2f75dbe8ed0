"""The demo: fit small models, run a recipe on the sample crawl, and show what came of it.

What you type for your own data is what is printed here, command by command.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from models import HERE, fit_models, step


def main() -> None:
    """Fit, run, verify, and say what to try next."""
    output = Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output")
    models, crawl = output / "models", HERE / "crawl"
    began = time.monotonic()
    fit_models(models)
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
