"""Beam's runners, a file each."""
