"""Names in a release. They are known without Arrow, so that commands that only look at names start at once."""

from __future__ import annotations

MANIFEST = "manifest.json"
CARD = "README.md"

# Where the inputs were, for whoever wants to look at them again: no part of the release.
INPUTS = "inputs.json"

FOLDERS = ("data", "rejects", "duplicates")
