"""What all settings have in common: frozen, strict, no unknown key."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["NAME", "Settings"]

# of an experiment, a tagger or a model: fit for files and runs
NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"


class Settings(BaseModel):
    """Base of every settings object: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
