"""Stacks of images."""
