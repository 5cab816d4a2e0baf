"""Tilt series of Warp and WarpTools.

XML or ``.tomostar`` files go in, a tilt series comes out. ``xml`` reads values, ``files`` reads all that a file holds,
``alignment`` makes projection matrices of it. Knows ``star``, ``stacks`` and ``files`` of this room, and ``geometry``.
"""
