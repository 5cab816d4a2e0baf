"""Pictures and views of volumes: previews, comparisons, footprints, the page of ``view``, layers of napari.

Volumes and tilt series go in; PNG files, films, and planes for a browser or napari come out. This room may know io,
quality and what stands below them, but not engine and cli: progress and troubles are reported to callbacks.
"""
