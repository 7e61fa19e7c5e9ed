"""Processes of this machine: workers, the server they are forked from, signals, memory, temporary files."""
