"""From the sample crawl to a small language model, on a CPU: mill pages, train on them, look at what came of it.

What you type for your own data is what is printed here, command by command.  The model is far too small, and its corpus
too, to say anything of sense.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from models import HERE, step

RECIPE = "name: pages\nstages:\n  - stage: extraction\n  - stage: language\n    keep: [en, zh]\n"
CONFIG = {
    "stage": "pretrain",
    "model": {"family": "dense", "width": 128, "layers": 2, "heads": 4},
    "tokenizer": {"kind": "bpe", "size": 2000},
    "data": {"tokens": 256, "rows": 8},
    "loop": {"steps": 200, "log_every": 20, "checkpoint_every": 100, "optimizer": {"learning_rate": 3e-3}},
}


def main() -> None:
    """Mill, train, ask."""
    output = Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output")
    output.mkdir(parents=True, exist_ok=True)
    recipe, config = output / "pages.yaml", output / "pretrain.json"
    recipe.write_text(RECIPE)
    config.write_text(json.dumps(CONFIG, indent=1) + "\n")
    pages, trained = str(output / "pages"), str(output / "small")
    model = f"{trained}/final"
    began = time.monotonic()
    step("the corpus", "run", str(recipe), str(HERE / "crawl"), "-o", pages, "--workers", "2")
    step("the model", "train", str(config), "--dataset", pages, "-o", trained)
    step("what it says", "generate", model, "--prompt", "The harvest", "--new-tokens", "40")
    step("how well it foretells", "perplexity", model, "--dataset", pages)
    step("what it costs", "cost", model, "--lengths", "64,256", "--batches", "1,8")
    print(
        f"""
── {time.monotonic() - began:.0f} seconds.  Try next:
gristmill train {config} --dataset {pages} -o {trained}   does nothing: it is finished
gristmill train {config} --dataset {pages} -o {output}/other --set loop.steps=400
gristmill compare {model} {output}/other/final --dataset {pages} --margin 0.01
gristmill advise --task chat --gpus 0                 what to train for something of use
"""
    )


if __name__ == "__main__":
    main()
