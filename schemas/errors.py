"""The base of all errors that this program raises for its users."""

from __future__ import annotations


class MalmungchiError(Exception):
    """Something that a user can fix. The message is one line that says where, why, and what to do.

    It never quotes a document: the message is shown on every machine that a job runs on, and no other error's is. Each
    error stands beside what raises it. Whoever writes a format, an extractor or a step of their own derives theirs
    from this class too.
    """


class CountError(MalmungchiError):
    """Counts do not add up: this program is at fault, and nothing has been published."""

    def __init__(self, message: str) -> None:
        super().__init__(f"{message}; please report this, and keep the staging area")
