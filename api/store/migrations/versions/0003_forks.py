"""Forks of a run are found by an index."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    op.create_index(
        op.f("ix_runs_parent_id_runs_created_at_runs_id"), "runs", ["parent_id", "created_at", "id"], unique=False
    )


def downgrade() -> None:
    """Back."""
    op.drop_index(op.f("ix_runs_parent_id_runs_created_at_runs_id"), table_name="runs")
