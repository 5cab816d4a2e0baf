"""Notes of SerialEM on the images of a tilt series (``.mdoc``).

An ``.mdoc`` completes the tilt series of another reader with exposures. ``mdoc`` reads it, ``match`` finds the section
of each image. Knows ``files`` of this room and ``tilt_series``.
"""
