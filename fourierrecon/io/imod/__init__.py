"""Alignments of IMOD."""
