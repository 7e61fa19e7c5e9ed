"""Shards: the Parquet files of a release."""
