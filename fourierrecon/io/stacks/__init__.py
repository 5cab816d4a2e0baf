"""Stacks of images in MRC and TIFF files, read one image at a time.

``open`` opens a file by what it holds and joins images of several files; ``mrc``, ``tiff`` and ``base`` are the kinds;
``extended_header`` reads what microscopes noted; ``write`` writes MRC. All are
:class:`fourierrecon.tilt_series.ImagesInFiles`. Knows ``files`` of this room and ``runtime``.
"""
