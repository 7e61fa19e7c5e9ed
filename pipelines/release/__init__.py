"""What to do with a finished release: look at it, check it, describe it."""
