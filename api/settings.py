"""All settings of the service, in one object, read once from the environment and the command line."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

SECRETS = Path("/run/secrets")  # where container engines put them
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")


class Settings(BaseSettings):
    """Settings; each can be given as ``GRISTMILL_<NAME>``, or as a file ``/run/secrets/gristmill_<name>``.

    Attributes:
        database_url: SQLAlchemy URL, ``sqlite:///…`` or ``postgresql+psycopg://…``; default a SQLite file below
            ``home``.
        home: folder of what the service keeps on this machine: its database, and runs unless ``runs_root`` says
            otherwise.
        runs_root: folder or URI below which each run has its own folder.
        models_root: folder below which every model of a recipe lies.
        host, port: what the API binds to.
        public_url: how others reach the API; drivers do, too.  Default: ``http://host:port``.
        allowed_hosts: values of the Host header that are answered; loopback and the host of ``public_url`` always are.
        allowed_origins: browser origins, other than the API's own, that may write.
        admin_key: a key with all rights that exists without being stored, for the first steps of an installation.
        require_key: whether requests need a key; on by itself when the API binds to more than loopback.
        backend: where drivers run tasks.
        ray_address: of the cluster, for the ``ray`` backend.
        ray_dashboard_url: of the same cluster, such as ``http://ray-head:8265``; asked as a stranger, who must be
            refused, before anything is launched.
        workers: shards at once of one run; 0 for one per processor.
        max_running: runs at once.
        claim_kinds: kinds of runs that this controller claims, such as ``training,evaluation``; all of them by default.
        end_drivers: whether a controller that is told to stop first asks its drivers to give their runs back; in a
            container they would die with it.
        stop_seconds: how long drivers that are asked to give their runs back may take; a training saves its state.
        lease_seconds: how long a driver may be silent before its run is taken from it.
        poll_seconds: how often controllers look.
        max_attempts: attempts at one run before it fails.
        retry_seconds: until the second attempt; twice as long each time, five minutes at most.
        max_body_bytes: of a request.
        webhooks_allow_private: whether webhooks may go to private addresses, any port, and HTTP without TLS.
        trainer_command: what the driver of a training or an evaluation starts, split like a shell does; see
            docs/trainings.md.
        requests_per_minute: of one key or, without keys, of one address; 0 for no limit.
    """

    model_config = SettingsConfigDict(
        env_prefix="GRISTMILL_", extra="ignore", frozen=True, secrets_dir=SECRETS if SECRETS.is_dir() else None
    )

    database_url: SecretStr | None = None
    home: Path = Path("gristmill-home")
    runs_root: str | None = None
    models_root: Path = Path("models")
    host: str = "127.0.0.1"
    port: int = Field(default=8321, ge=0, le=65535)
    public_url: str | None = None
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = ()
    admin_key: SecretStr | None = None
    require_key: bool | None = None
    backend: Literal["inline", "ray"] = "inline"
    ray_address: str | None = None
    ray_dashboard_url: str | None = None
    workers: int = Field(default=0, ge=0, le=4096)
    max_running: int = Field(default=1, ge=1, le=1000)
    claim_kinds: Annotated[tuple[str, ...], NoDecode] = ()
    end_drivers: bool = False
    stop_seconds: float = Field(default=10.0, ge=0.0, le=3600.0)
    lease_seconds: float = Field(default=30.0, ge=1.0, le=3600.0)
    poll_seconds: float = Field(default=1.0, ge=0.05, le=60.0)
    max_attempts: int = Field(default=5, ge=1, le=100)
    retry_seconds: float = Field(default=2.0, ge=0.0, le=300.0)
    max_body_bytes: int = Field(default=1 << 20, ge=1 << 10, le=1 << 30)
    webhooks_allow_private: bool = False
    trainer_command: str = "gristmill-trainer"
    requests_per_minute: int = Field(default=6000, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _split_lists(cls, values: dict[str, object]) -> dict[str, object]:
        """Lists are written ``a,b`` in the environment."""
        for name in ("allowed_hosts", "allowed_origins", "claim_kinds"):
            given = values.get(name)
            if isinstance(given, str):
                values[name] = tuple(part.strip() for part in given.split(",") if part.strip())
        return values

    @model_validator(mode="after")
    def _open_doors_need_keys(self) -> Self:
        if not is_loopback(self.host) and (self.require_key is False or self.admin_key is None):
            raise ValueError(
                f"host {self.host!r} can be reached from outside, so a key is needed: set GRISTMILL_ADMIN_KEY "
                "(`gristmill keys generate` makes one), or bind to 127.0.0.1"
            )
        return self

    @property
    def keys_required(self) -> bool:
        """Whether a request without a key is refused."""
        return self.require_key if self.require_key is not None else not is_loopback(self.host)

    @property
    def database(self) -> str:
        """URL of the database, password included; never to be shown."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{(self.home / 'gristmill.db').absolute()}"

    @property
    def runs(self) -> str:
        """Root of the runs' folders."""
        return self.runs_root or str((self.home / "runs").absolute())

    @property
    def url(self) -> str:
        """How drivers and clients reach the API."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (self.public_url or f"http://{host}:{self.port}").rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what is bound to a host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
