"""All benchmarks in one call: rates, CPU seconds and peak memory, with peers on the same documents.

    make bench                                   # everything; a quarter of an hour on two cores
    python benchmarks/run.py signatures mill     # some of it

With ``GRISTMILL_DATA`` set, on real crawl and text; without it, on the sample crawl and texts in ``examples/``.
Models are fitted once into ``.models/benchmark`` (or ``.models/sample``).  Peers that need an environment of
their own live in ``.venv-peers``; where it is missing, what is measured against them stands alone.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ["GRISTMILL_DATA"]).resolve() if os.environ.get("GRISTMILL_DATA") else None
MODELS = ROOT / ".models" / ("benchmark" if DATA else "sample")
PEER = ROOT / ".venv-peers" / "bin" / "python"

GOOD_TEXT = {
    "en": ["abc-news-en", "gutenberg-en", "state-of-the-union-en"],
    "zh": ["chinanews-zh", "wikipedia-zh-hans", "csl-abstracts-zh"],
}


def good_text(language: str) -> list[Path]:
    """Corpora to fit a language model on."""
    if DATA:
        return [DATA / "text" / f"{name}.jsonl.gz" for name in GOOD_TEXT[language]]
    return [ROOT / "examples" / "fit" / f"corpus-{language}.jsonl"]


def shards() -> list[Path]:
    """WARC files to mill."""
    folder = DATA / "crawl" / "built" if DATA else ROOT / "examples" / "crawl"
    return sorted(folder.glob("*.warc.gz"))


def labelled() -> Path:
    """Labelled text to fit a classifier on, and to classify."""
    return DATA / "domains" / "bbc-en.jsonl.gz" if DATA else ROOT / "examples" / "fit" / "domains.jsonl"


def call(*command: str | Path) -> None:
    """Run a command and stop when it fails."""
    done = subprocess.run([str(part) for part in command], cwd=ROOT, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def perplexity_model(language: str) -> Path:
    """Folder of a language model; fitted when it is not there."""
    folder = MODELS / "perplexity" / language
    if not (folder / "model.arpa").exists():
        call(sys.executable, "-m", "cli.main", "fit", "perplexity", *good_text(language), "-l", language, "-o", folder)
    return folder


def domain_model() -> Path:
    """Folder of a classifier; fitted when it is not there."""
    folder = MODELS / "domain"
    if not (folder / "config.json").exists():
        small = ["--epochs", "1", "--max-tokens", "256", "--max-per-label", "80"]
        call(sys.executable, "-m", "cli.main", "fit", "domain", labelled(), "-o", folder, *small)
    return folder


def signatures() -> None:
    """Text to signature, beside datasketch and rensa."""
    call(sys.executable, "benchmarks/signatures.py", "--documents", "1000")


def mill() -> None:
    """WARC to verdict, beside datatrove's chain."""
    for language in GOOD_TEXT:
        perplexity_model(language)
    domain_model()
    peer = ["--peer", PEER] if PEER.exists() else []
    call(sys.executable, "benchmarks/mill.py", *shards(), "--models", MODELS, *peer)


def perplexity() -> None:
    """Normalise, SentencePiece and KenLM, beside CCNet's chain."""
    for language in GOOD_TEXT:
        call(sys.executable, "-m", "benchmarks.perplexity", language, perplexity_model(language), *good_text(language))


def classifier() -> None:
    """The domain classifier, beside transformers' pipeline."""
    call(sys.executable, "benchmarks/classifier.py", domain_model(), labelled(), "--documents", "128", "--rounds", "3")


def duplicates() -> None:
    """Whole removal beside peers, and its growth."""
    peer = ["--peer", PEER] if PEER.exists() else []
    texts = ["text/abc-news-en", "domains/bbc-en", "neardup/articles", "neardup/licenses"]
    files = [DATA / f"{name}.jsonl.gz" for name in texts] if DATA else [ROOT / "examples" / "fit" / "corpus-en.jsonl"]
    call(sys.executable, "-m", "benchmarks.duplicate_peers", *files, *peer)
    call(sys.executable, "benchmarks/duplicates.py", "1000", "10000", "100000")


SECTIONS: dict[str, Callable[[], None]] = {
    section.__name__: section for section in (signatures, mill, perplexity, classifier, duplicates)
}


def machine() -> str:
    """Processor, cores, system, in one line."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor() or platform.machine()
    return f"{processor}, {os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}"


def main() -> None:
    """Run the sections that were named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], help="default: all")
    chosen = parser.parse_args().sections or list(SECTIONS)
    print(f"machine: {machine()}; {'real data' if DATA else 'sample data'}")
    for name in chosen:
        print(f"\n== {name}: {(SECTIONS[name].__doc__ or '').strip()}", flush=True)
        SECTIONS[name]()


if __name__ == "__main__":
    main()
