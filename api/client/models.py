"""``client.models``: what trainings made."""

from __future__ import annotations

from api.client.versioned import Versioned


class Models(Versioned):
    """What trainings made."""

    kind = "model"
