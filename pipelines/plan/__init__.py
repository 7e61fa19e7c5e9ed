"""From what the user names to what there is to do."""
