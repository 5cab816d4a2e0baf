"""Tilt series of specimens that are known exactly, to try the program on and to test it with; and the real sample.

A specimen is a sum of Gaussians, whose projections are exact; out come a tilt series, its half stacks and the truth.
This room may know ``reconstruction`` and what stands below it, but not sets, report and cli.

>>> from fourierrecon.simulation.phantom import cell_like_specimen
>>> from fourierrecon.simulation.simulate import simulate
>>> simulate(cell_like_specimen((64, 60, 24)), (64, 60, 24)).series
TiltSeries('TS_01', 41 images of 60 x 64 px, 10 Å/px, tilts -60° to 60°)
"""
