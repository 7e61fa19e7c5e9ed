"""Data that crosses steps: Arrow schemas, chunks, slices, configuration, manifest."""
