"""Malmungchi (말뭉치): raw Korean text in, deduplicated Parquet shards for model trainers out."""
