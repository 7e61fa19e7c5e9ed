"""Readable logs: Beam's warnings about packages that are not used here are left out."""

from __future__ import annotations

import logging
import os
import sys

from malmungchi.transforms.io.private import TRACEBACK


def quiet() -> None:
    """To be called before Beam is imported. Logs go to standard error; document text never does."""
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    # The second is what job servers say, tracebacks included, which may quote a document.
    logging.getLogger().addFilter(
        lambda record: (
            "apitools" not in record.getMessage()
            and (record.module != "portable_runner" or bool(os.environ.get(TRACEBACK)))
        )
    )
    # Beam logs what fails in several processes, each with its traceback; the launcher says the cause once.
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it logs each attempt, with its traceback


def hide_tracebacks() -> None:
    """In a worker: Beam prints each error with its traceback there, and the message of one may quote a document."""
    if not os.environ.get(TRACEBACK):
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (for as long as the process lives)
