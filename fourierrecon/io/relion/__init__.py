"""Tomogram sets of RELION 4 and 5: read, written from tilt series of any program, and listed after a run.

STAR files go in and out; the images stay in their files. ``read`` gives a tilt series, ``entries`` and ``write`` make a
set, ``import_set`` makes one from other programs' alignments, and ``tomogram_list`` is the ``tomograms.star`` beside
reconstructed volumes. Knows ``star``, ``stacks`` and ``files`` of this room, and ``geometry``.
"""
