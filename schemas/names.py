"""Names in a release. They are known without Arrow, so that commands that only look at names start at once."""

from __future__ import annotations

MANIFEST = "manifest.json"
CARD = "README.md"

FOLDERS = ("data", "rejects", "duplicates")
