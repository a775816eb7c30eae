"""The registry of trained models: every version, what it was made from, how good it was, and which one is in use."""

from __future__ import annotations

import uuid
from datetime import date, datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, Keyed, Revised

MODEL_KINDS = ("statistical", "chronos")
MODEL_STAGES = ("challenger", "champion", "retired")


class ModelVersion(Keyed, Revised, Base):
    """One trained version of a model. Of a name, at most one is the champion that forecasts are made with.

    `data_from` to `data_to` is the history it was trained on, `metrics` its backtest, `verdict` why it was promoted or
    not.
    """

    __tablename__ = "model_version"
    __table_args__ = (
        UniqueConstraint("name", "version"),
        CheckConstraint(f"kind in {MODEL_KINDS}", name="kind"),
        CheckConstraint(f"stage in {MODEL_STAGES}", name="stage"),
        CheckConstraint("version > 0", name="version"),
        CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256"),
        CheckConstraint("data_to >= data_from", name="data_to"),
        Index("uq_model_version_champion", "name", unique=True, postgresql_where=text("stage = 'champion'")),
    )

    name: Mapped[str]
    version: Mapped[int]
    kind: Mapped[str]
    stage: Mapped[str] = mapped_column(server_default="challenger")
    artefact_uri: Mapped[str | None]
    sha256: Mapped[str | None]
    quantiles: Mapped[list[Any]] = mapped_column(server_default="[]")
    data_from: Mapped[date | None]
    data_to: Mapped[date | None]
    metrics: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    git_revision: Mapped[str | None]
    job_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("job.id", ondelete="SET NULL"), index=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)
    promoted_at: Mapped[datetime | None]
    promoted_by: Mapped[str | None]
    verdict: Mapped[str | None]
