"""The service with the sample crawl as a source and the demo's models; what to try is printed.

The folder keeps everything: start it again, and it goes on.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from models import HERE, fit_models

from api.client import Client, ServiceError
from api.settings import Settings
from curation.errors import GristmillError

PATIENCE = 60.0  # seconds to the first answer


def main() -> None:
    """Fit models where there are none, start the service, declare what belongs to the sample."""
    output = Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output").absolute()
    fit_models(output / "models")
    environment = {"GRISTMILL_HOME": str(output / "service"), "GRISTMILL_MODELS_ROOT": str(output / "models")}
    os.environ.update({name: value for name, value in environment.items() if name not in os.environ})
    server = subprocess.Popen([sys.executable, "-m", "cli.main", "serve"])
    for sig in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sig, lambda number, _: server.send_signal(number))
    settings = Settings()
    key = settings.admin_key.get_secret_value() if settings.admin_key else None
    client = Client(settings.url, key)
    if _answers(server, client):
        declare(client)
        print(_TRY.format(url=settings.url), flush=True)
    sys.exit(server.wait())


@contextmanager
def serving(home: Path, **settings: str) -> Iterator[Client]:
    """A service of our own, on a free port, with the bundled trainer; ended in order.

    Args:
        settings: by name, without the prefix.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ, "GRISTMILL_HOME": str(home.absolute()), "GRISTMILL_PORT": str(port),
        "GRISTMILL_TRAINER_COMMAND": "python -m trainer",
        **{f"GRISTMILL_{name.upper()}": value for name, value in settings.items()},
    }  # fmt: skip
    home.mkdir(parents=True, exist_ok=True)
    with (home / "service.log").open("ab") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "serve"], env=environment, stdout=log, stderr=log
        )  # fmt: skip
        client = Client(f"http://127.0.0.1:{port}")
        try:
            if not _answers(server, client):
                sys.exit(f"the service did not start; {home / 'service.log'} says why")
            yield client
        finally:
            server.terminate()
            server.wait()


def _answers(server: subprocess.Popen[bytes], client: Client) -> bool:
    """Whether a service that was just started answers, as soon as it does."""
    deadline = time.monotonic() + PATIENCE
    while server.poll() is None and time.monotonic() < deadline:
        with suppress(GristmillError):
            client.sources.list()
            return True
        time.sleep(0.1)
    return False


def declare(client: Client) -> None:
    """The sample source and pipeline; there since the last start: that is fine."""
    with suppress(ServiceError):
        client.sources.declare("sample", str(HERE / "crawl"), description="The crawl in examples/")
    with suppress(ServiceError):
        recipe = (HERE / "recipe.yaml").read_text()
        client.pipelines.make("sample", recipe_yaml=recipe, description="The recipe in examples/")


_TRY = """
── The service is at {url}.  In another terminal (source .venv/bin/activate), try:
gristmill runs submit --pipeline sample --input sample --publish demo --wait
gristmill runs list
gristmill runs what-if RUN --threshold gopher-quality.few-words=100
gristmill datasets download demo --output demo-corpus
gristmill schedules make nightly --cron '30 2 * * *' --time-zone Europe/Berlin --pipeline sample --input sample
docs/service.md has the rest.  Ctrl-C stops it; runs go on when it is started again.
"""


if __name__ == "__main__":
    main()
