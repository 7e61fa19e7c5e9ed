"""What share of near-duplicates the bands of a configuration find."""

from __future__ import annotations

from malmungchi.schemas.banding import RECALL, recall
from malmungchi.schemas.config import Config


def found(config: Config) -> dict[str, float]:
    """Threshold, bands, rows, and the share of pairs at the threshold that are found; nothing where none are looked
    for."""
    if not config.deduplicate.near:
        return {}
    bands, rows, threshold = config.fingerprint.bands, config.fingerprint.rows, config.deduplicate.threshold
    return {"threshold": threshold, "bands": bands, "rows": rows, "recall": round(recall(threshold, bands, rows), 6)}


def in_words(config: Config) -> str:
    """The same as a sentence."""
    share = found(config)
    if not share:
        return "near-duplicates are not looked for"
    return (
        f"{share['bands']} bands of {share['rows']} rows find {percent(share['recall'])} of the pairs whose similarity "
        f"is the threshold, {share['threshold']:g}"
    )


def percent(share: float) -> str:
    """A share in percent, rounded down: 99.98 % is never shown as 100 %."""
    return f"{int(share * 10_000) / 100:g} %"


def warning(config: Config) -> str:
    """What to say if more pairs are missed than need be; empty if not."""
    share = found(config)
    if not share or share["recall"] >= RECALL:
        return ""
    return (
        f"{in_words(config)}, not {percent(RECALL)}: leave fingerprint.bands and fingerprint.rows at 0, so that they "
        "are chosen for the threshold, or allow more fingerprint.permutations"
    )
