"""The numerics: images become samples, samples planes of the 3D Fourier grid, planes slabs of voxels.

In go a tilt series, a region, a weighting and :class:`~fourierrecon.engine.settings.Settings`; slabs of voxels come
out. The order of reading is that of :mod:`fourierrecon.reconstruction`: ``settings`` and ``plan`` (with ``windows``)
first, then ``images``, ``planes`` and ``slabs``, one for each stage; ``several_volumes`` says what volumes share, and
``storage`` what lies in scratch files.

Axes and signs, here and nowhere else. A volume is ``(z, y, x)``. Planes are ``k_p = j / H'``, where ``p`` is the
horizontal axis of the region nearest to the tilt axis, ``o`` the other one, and ``z`` the depth. In an image, ``a`` is
the axis nearest to ``p`` and ``b`` the other one. Frequencies are cycles per voxel (``k``) or cycles per pixel
(``q``), with ``k = M^T q`` for the matrix ``M`` from voxels to pixels. The origin of every transform is ``n // 2``; a
transform to Fourier space has ``exp(-2 pi i k x)``.

The engine may import ``weighting``, ``geometry``, ``volume``, ``ctf``, ``transfer``, ``tilt_series``, ``runtime`` and
``errors``; it reads no file and draws nothing.
"""
