"""A runner of the user's own: a class of Beam's kind, by its module and name."""

from __future__ import annotations

from malmungchi.pipelines.runners.base import Options, Runner


class Custom(Runner):
    """Its options are passed on unchanged: only its class knows what they mean."""

    def __init__(self, name: str) -> None:
        self.name = name

    def beam(self, given: Options) -> str:
        return self.name
