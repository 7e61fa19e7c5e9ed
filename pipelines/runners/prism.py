"""Prism: Beam's own runner for one machine, a program in Go."""

from __future__ import annotations

from malmungchi.pipelines.runners.base import Runner


class Prism(Runner):
    """Beam's PrismRunner, as its options have it."""

    name = "prism"
