"""Tomogram sets of RELION 4 and 5."""
