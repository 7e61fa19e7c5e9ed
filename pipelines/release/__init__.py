"""What one does with a release that is there: look at it, check it, describe it."""
