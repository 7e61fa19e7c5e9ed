"""Formats: bytes to rows."""
