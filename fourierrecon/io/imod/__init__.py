"""Alignments, defocus and models of IMOD.

The files of eTomo's folder go in, a tilt series comes out. ``project`` finds the files, ``text`` reads their lines,
``volume`` places the tomogram as the program tilt does, ``defocus`` reads ctfplotter's files, ``alignment`` puts all
together; ``model`` reads points. Knows ``stacks`` and ``files`` of this room, and ``geometry``.
"""
