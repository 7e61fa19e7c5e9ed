"""Names of what systems and other programs leave in folders: no pattern stands for it, and it is no damage."""

from __future__ import annotations

import re

# Spark, Hadoop, Databricks and Parquet writers mark their folders; Windows and macOS keep views of them.
_MARK = re.compile(
    r"(_SUCCESS|_(common_)?metadata|_(committed|started|temporary)(_.*)?|.*\.crc|.*_\$folder\$|"
    r"Thumbs\.db|ehthumbs\.db|desktop\.ini|Icon\r|__MACOSX|\$RECYCLE\.BIN|System Volume Information|lost\+found)$",
    re.IGNORECASE,
)


def is_hidden(name: str) -> bool:
    """Whether a name begins with a dot, so that the shell's wildcards pass over it."""
    return name.startswith(".")


def is_mark(name: str) -> bool:
    """Whether a file or folder of this name holds no rows, but says something about its folder."""
    return _MARK.match(name) is not None
