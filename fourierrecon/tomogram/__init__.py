"""One tomogram, from request to file.

In goes what a user asks for: a tilt series, a region, a weighting and settings (``request``). ``checks`` and
``checks_ctf`` list what looks like a mistake, ``inputs`` and ``output_paths`` keep files that are read from being
replaced, and ``forecast`` measures memory and time beforehand. ``profiles`` are settings under the name of a purpose or
of a program. Out come a volume (``file``), its ``companions`` (coverage, Fourier weight, missing wedge, and the
transfer function, ``transfer_volume``) and its passport (``provenance``); ``halves`` opens the images of even and odd
frames.

This room may use ``reconstruction``, ``engine``, ``io``, ``quality``, ``weighting`` and all below them. It does not
know ``sets``, ``report`` and ``cli``; nothing here prints.
"""
