"""Bytes in and out: storage, decompression, progress, errors that quote nothing."""
