"""Logging that a person can bear: Beam's warnings about packages that are not used here are left out."""

from __future__ import annotations

import logging


def quiet() -> None:
    """To be called before Beam is imported. Logs go to standard error; document text never does."""
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    logging.getLogger().addFilter(lambda record: "apitools" not in record.getMessage())
    # Beam logs what fails in several processes, each with its traceback; the launcher says the cause once.
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
