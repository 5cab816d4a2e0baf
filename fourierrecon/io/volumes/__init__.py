"""Volumes in MRC files and OME-Zarr folders, read and written part by part.

``formats`` chooses by the ending of a name; ``base`` is what all volumes in files have in common; ``mrc``, ``zarr`` and
``zarr_write`` are the formats, ``quantise`` makes integers of densities, ``reorder`` the axes of other programs, and
``convert`` changes format or type. Knows ``stacks`` and ``files`` of this room, ``geometry``, ``volume``, ``runtime``.
"""
