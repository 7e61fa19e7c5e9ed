"""Steps: rows to rows."""
