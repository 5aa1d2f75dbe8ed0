"""transformers, kept from the network, quiet, and the same to the last bit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from curation.errors import InputError


def import_transformers() -> Any:
    """The ``transformers`` module, imported with the hub switched off, and arithmetic that can be repeated.

    Raises:
        InputError: where it, or torch, is not installed.
    """
    # huggingface_hub reads this once, when it is imported.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # A worker is one of many processes on its machine: threads of the tokeniser would fight for its cores.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # MKL reads this at its first product.  Otherwise the last bits of a row depend on where it lies among others, on
    # processors with AVX-512 (oneMKL's manual, "Conditional Numerical Reproducibility").
    os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
    try:
        import torch  # noqa: F401
        import transformers
    except ImportError as error:
        raise InputError(f"the domain classifier needs gristmill[domain]: {error}") from error
    return transformers


@contextmanager
def quiet() -> Iterator[None]:
    """Load reports and progress bars of transformers are held back; what matters is raised by the caller."""
    logging = import_transformers().utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
