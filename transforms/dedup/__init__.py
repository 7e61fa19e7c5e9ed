"""Deduplication: fingerprints, candidates, components, verified pairs."""
