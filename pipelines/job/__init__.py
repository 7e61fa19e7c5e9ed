"""One run of a plan towards an output: locks, stages, checks of what must be there, messages."""
