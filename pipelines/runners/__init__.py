"""Beam's runners, one file each."""
