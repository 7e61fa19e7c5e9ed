"""Extractors: payloads to text."""
