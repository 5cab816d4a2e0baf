"""STAR files."""
