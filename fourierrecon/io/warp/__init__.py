"""Tilt series of Warp."""
