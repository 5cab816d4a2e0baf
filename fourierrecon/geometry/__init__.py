"""Where things lie: projections, regions, corrections of an alignment, coordinate frames, and the order of axes.

A tilt series goes in; matrices, boxes and coordinates come out, and no image is read. This room knows ``tilt_series``,
``runtime`` and ``errors``.

Every convention of the package is said here, once.

* **World**: bin-1 pixels of the tomogram's coordinate frame. ``P_f`` (4 x 4) maps a world point ``(x, y, z, 1)`` to
  the unbinned image ``f``: ``(u, v) = (P_f X)[:2]``; ``u`` counts columns, ``v`` rows, pixel centres lie at integers,
  the first pixel is 0. The third row is the depth along the beam and is not used.
* **Rotations** are right-handed and act on column vectors. Angles are in degrees, lengths in px or Å as named.
* **Origin**: the centre of ``n`` pixels, of an image as of a Fourier transform, is pixel ``n // 2``, for even and odd
  ``n``. Readers of programs that turn about another point (IMOD about ``(n - 1) / 2``, Warp about ``n / 2``) put the
  difference into the matrices.
* **Voxels**: output voxel ``(i, j, k)`` sits at ``X = (x0 + B i, y0 + B j, z0 + B k)`` with the binning ``B``, any
  real number >= 1. Binned pixel ``a`` sits on unbinned pixel ``B a``. There are no half-pixel shifts anywhere.
* **Sizes** in voxels are ``int(w/B + 0.5), int(h/B + 0.5), int(d/B)``, as RELION writes them, so that masks and
  picks made on its tomograms fit.
* **Coordinate frames**: RELION 4's matrices map a 1-based world (as IMOD's does), RELION 5's a 0-based one. Voxel 0
  therefore sits at world point (1, 1, 1) by default in the one and (0, 0, 0) in the other, the same point of the
  specimen.
* RELION 5's frame hangs on the size of the tomogram: its rotation centre is world point
  ``(int(w/2), int(h/2), int(d/2))``. Another size moves the frame, so that a region stays centred on the rotation
  centre. So does Warp's, whose centre is ``(w/2, h/2, d/2)``, also between voxels. With RELION 4's matrices a size only
  cuts.
* **Arrays** are ``(z, y, x)``, C order.
"""
