"""Alignments of AreTomo 1 to 3.

An ``.aln`` file goes in, a tilt series comes out. ``numbers`` finds the image of each row, ``tables`` reads CTF and
exposures from files beside it, ``alignment`` puts all together. Knows ``stacks`` and ``files`` of this room, and
``geometry``.
"""
