"""The tables.  Times are milliseconds since the epoch, UTC; ids are UUIDs as text; documents are JSON.

Invariants that two processes could break together are constraints here, not code elsewhere.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_N_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

STATES = (
    "queued", "starting", "running", "pausing", "paused", "cancelling", "cancelled", "succeeded", "failed",
)  # fmt: skip
_in_states = "state in (" + ", ".join(f"'{state}'" for state in STATES) + ")"

sources = Table(
    "sources", metadata,
    Column("id", String(36), primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("root", Text, nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", String(100), nullable=False),
)  # fmt: skip

pipelines = Table(
    "pipelines", metadata,
    Column("id", String(36), primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("description", Text, nullable=False, server_default=""),
    Column("latest", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", String(100), nullable=False),
)  # fmt: skip

revisions = Table(
    "revisions", metadata,
    Column("pipeline_id", String(36), ForeignKey("pipelines.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("recipe", JSON, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", String(100), nullable=False),
)  # fmt: skip

runs = Table(
    "runs", metadata,
    Column("id", String(36), primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("name", String(200), nullable=False),
    Column("state", String(20), nullable=False),
    Column("reason", Text, nullable=True),
    Column("version", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("tags", JSON, nullable=False),
    Column("note", Text, nullable=False, server_default=""),
    Column("request", JSON, nullable=False),
    Column("pipeline_id", String(36), nullable=True),
    Column("revision", Integer, nullable=True),
    Column("schedule_id", String(36), nullable=True),
    Column("nominal", BigInteger, nullable=True),
    Column("waits", Integer, nullable=False, server_default="0"),
    Column("parent_id", String(36), ForeignKey("runs.id"), nullable=True),
    Column("output", Text, nullable=False),
    Column("plan_key", String(64), nullable=True),
    Column("progress", JSON, nullable=False),
    Column("result", JSON, nullable=True),
    Column("events", Integer, nullable=False),
    Column("not_before", BigInteger, nullable=False, server_default="0"),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", String(100), nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("started_at", BigInteger, nullable=True),
    Column("finished_at", BigInteger, nullable=True),
    ForeignKeyConstraint(["pipeline_id", "revision"], ["revisions.pipeline_id", "revisions.number"]),
    CheckConstraint(_in_states, name="state"),
    Index(None, "created_at", "id"),
    Index(None, "state", "created_at", "id"),
    Index(None, "kind", "created_at", "id"),
    Index(None, "pipeline_id", "created_at", "id"),
    Index(None, "schedule_id", "created_at", "id"),
    Index(None, "parent_id", "created_at", "id"),
    Index("ix_runs_claim", "state", "priority", "id"),
)  # fmt: skip

attempts = Table(
    "attempts", metadata,
    Column("run_id", String(36), ForeignKey("runs.id"), primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("controller", String(100), nullable=False),
    Column("handle", JSON, nullable=True),
    Column("token_digest", String(64), nullable=False),
    Column("lease_until", BigInteger, nullable=False),
    Column("heartbeat_at", BigInteger, nullable=True),
    Column("heard", Integer, nullable=False, server_default="0"),
    Column("started_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger, nullable=True),
    Column("outcome", String(20), nullable=True),
    Column("reason", Text, nullable=True),
    Index(None, "finished_at", "lease_until"),
)  # fmt: skip

events = Table(
    "events", metadata,
    Column("run_id", String(36), ForeignKey("runs.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("actor", String(120), nullable=False),
    Column("epoch", Integer, nullable=True),
    Column("data", JSON, nullable=False),
)  # fmt: skip

log_lines = Table(
    "log_lines", metadata,
    Column("run_id", String(36), ForeignKey("runs.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("level", String(10), nullable=False),
    Column("text", Text, nullable=False),
)  # fmt: skip

idempotency = Table(
    "idempotency", metadata,
    Column("owner", String(100), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("run_id", String(36), ForeignKey("runs.id"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
)  # fmt: skip

schedules = Table(
    "schedules", metadata,
    Column("id", String(36), primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("version", Integer, nullable=False),
    Column("paused", Integer, nullable=False, server_default="0"),
    Column("policy", JSON, nullable=False),
    Column("request", JSON, nullable=False),
    Column("only_new", Integer, nullable=False, server_default="1"),
    Column("decided_until", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", String(100), nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)  # fmt: skip

fires = Table(
    "fires", metadata,
    Column("schedule_id", String(36), ForeignKey("schedules.id"), primary_key=True),
    Column("nominal", BigInteger, primary_key=True),
    Column("outcome", String(20), nullable=False),
    Column("reason", Text, nullable=True),
    Column("run_id", String(36), ForeignKey("runs.id"), nullable=True),
    Column("decided_at", BigInteger, nullable=False),
    CheckConstraint("outcome in ('started', 'skipped', 'missed', 'coalesced')", name="outcome"),
)  # fmt: skip

datasets = Table(
    "datasets", metadata,
    Column("id", String(36), primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("kind", String(20), nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    Column("latest", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", String(100), nullable=False),
)  # fmt: skip

dataset_versions = Table(
    "dataset_versions", metadata,
    Column("dataset_id", String(36), ForeignKey("datasets.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("run_id", String(36), ForeignKey("runs.id"), nullable=False),
    Column("location", Text, nullable=False),
    Column("manifest_digest", String(80), nullable=False),
    Column("facts", JSON, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", String(100), nullable=False),
    UniqueConstraint("dataset_id", "run_id"),
)  # fmt: skip

training_inputs = Table(
    "training_inputs", metadata,
    Column("run_id", String(36), ForeignKey("runs.id"), primary_key=True),
    Column("dataset_id", String(36), primary_key=True),
    Column("number", Integer, primary_key=True),
    ForeignKeyConstraint(["dataset_id", "number"], ["dataset_versions.dataset_id", "dataset_versions.number"]),
    Index(None, "dataset_id", "number"),
)  # fmt: skip

aliases = Table(
    "aliases", metadata,
    Column("dataset_id", String(36), ForeignKey("datasets.id"), primary_key=True),
    Column("name", String(100), primary_key=True),
    Column("number", Integer, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    ForeignKeyConstraint(["dataset_id", "number"], ["dataset_versions.dataset_id", "dataset_versions.number"]),
)  # fmt: skip

models = Table(
    "models", metadata,
    Column("id", String(36), primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("description", Text, nullable=False, server_default=""),
    Column("latest", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", String(100), nullable=False),
)  # fmt: skip

model_versions = Table(
    "model_versions", metadata,
    Column("model_id", String(36), ForeignKey("models.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("run_id", String(36), ForeignKey("runs.id"), nullable=False),
    Column("location", Text, nullable=False),
    Column("digest", String(80), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("family", String(100), nullable=True),
    Column("stage", String(100), nullable=True),
    Column("figures", JSON, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", String(100), nullable=False),
    UniqueConstraint("model_id", "run_id"),
)  # fmt: skip

model_inputs = Table(
    "model_inputs", metadata,
    Column("run_id", String(36), ForeignKey("runs.id"), primary_key=True),
    Column("model_id", String(36), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("role", String(100), primary_key=True),
    ForeignKeyConstraint(["model_id", "number"], ["model_versions.model_id", "model_versions.number"]),
    Index(None, "model_id", "number"),
)  # fmt: skip

model_aliases = Table(
    "model_aliases", metadata,
    Column("model_id", String(36), ForeignKey("models.id"), primary_key=True),
    Column("name", String(100), primary_key=True),
    Column("number", Integer, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    ForeignKeyConstraint(["model_id", "number"], ["model_versions.model_id", "model_versions.number"]),
)  # fmt: skip

webhooks = Table(
    "webhooks", metadata,
    Column("id", String(36), primary_key=True),
    Column("url", Text, nullable=False),
    Column("kinds", JSON, nullable=False),
    Column("secret", Text, nullable=False),
    Column("paused", Integer, nullable=False, server_default="0"),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", String(100), nullable=False),
)  # fmt: skip

deliveries = Table(
    "deliveries", metadata,
    Column("id", String(36), primary_key=True),
    Column("webhook_id", String(36), ForeignKey("webhooks.id", ondelete="CASCADE"), nullable=False),
    Column("body", JSON, nullable=False),
    Column("state", String(20), nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("due_at", BigInteger, nullable=False),
    Column("claimed_until", BigInteger, nullable=False, server_default="0"),
    Column("last_status", Integer, nullable=True),
    Column("last_error", Text, nullable=True),
    Column("created_at", BigInteger, nullable=False),
    Index(None, "state", "due_at"),
    Index(None, "webhook_id", "created_at", "id"),
)  # fmt: skip

api_keys = Table(
    "api_keys", metadata,
    Column("id", String(36), primary_key=True),
    Column("name", String(100), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("role", String(20), nullable=False),
    Column("scopes", JSON, nullable=True),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", String(100), nullable=False),
    Column("revoked_at", BigInteger, nullable=True),
)  # fmt: skip

audit = Table(
    "audit", metadata,
    Column("id", String(36), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("actor", String(120), nullable=False),
    Column("action", String(60), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("detail", JSON, nullable=False),
    Index(None, "at", "id"),
)  # fmt: skip
