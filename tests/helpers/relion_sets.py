"""A small tomogram of RELION 4 and 5, as text, and a measure of its geometry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourierrecon import Region, TiltSeries

RELION_4 = """
# version 30001

data_global

loop_
_rlnTomoName #1
_rlnTomoTiltSeriesName #2
_rlnTomoFrameCount #3
_rlnTomoSizeX #4
_rlnTomoSizeY #5
_rlnTomoSizeZ #6
_rlnTomoHand #7
_rlnTomoTiltSeriesPixelSize #8
_rlnVoltage #9
_rlnSphericalAberration #10
_rlnAmplitudeContrast #11
TS_01 tilts.mrcs 3 10 8 5 -1 4.0 300 2.7 0.1


data_TS_01

loop_
_rlnTomoProjX #1
_rlnTomoProjY #2
_rlnTomoProjZ #3
_rlnTomoProjW #4
_rlnDefocusU #5
_rlnDefocusV #6
_rlnDefocusAngle #7
_rlnMicrographPreExposure #8
[0.5,0,0.8660254,1] [0,1,0,2] [-0.8660254,0,0.5,0] [0,0,0,1] 20000 21000 30 6
[1,0,0,3] [0,1,0,4] [0,0,1,0] [0,0,0,1] 20100 21100 31 0
[0.5,0,-0.8660254,5] [0,1,0,6.5] [0.8660254,0,0.5,0] [0,0,0,1] 20200 21200 32 3

"""
RELION_5 = """data_global

loop_
_rlnTomoName #1
_rlnTomoTiltSeriesStarFile #2
_rlnTomoHand #3
_rlnTomoTiltSeriesPixelSize #4
_rlnVoltage #5
_rlnSphericalAberration #6
_rlnAmplitudeContrast #7
_rlnTomoSizeX #8
_rlnTomoSizeY #9
_rlnTomoSizeZ #10
TS_01 tilt_series/TS_01.star -1 4.0 300 2.7 0.1 10 8 5

"""
TILTS_5 = """data_TS_01

loop_
_rlnMicrographName #1
_rlnTomoXTilt #2
_rlnTomoYTilt #3
_rlnTomoZRot #4
_rlnTomoXShiftAngst #5
_rlnTomoYShiftAngst #6
_rlnDefocusU #7
_rlnDefocusV #8
_rlnDefocusAngle #9
_rlnPhaseShift #10
_rlnCtfScalefactor #11
_rlnMicrographPreExposure #12
_rlnMicrographNameEven #13
_rlnMicrographNameOdd #14
000001@tilts.mrcs 0 -60 85 4.0 -8.0 20000 21000 30 10 0.5 6 1@even.mrcs 3@odd.mrcs
000002@tilts.mrcs 0 0 85 0 0 20100 21100 31 11 1.0 0 2@even.mrcs 2@odd.mrcs
000003@tilts.mrcs 1 60 85.5 1.5 2.5 20200 21200 32 12 0.6 3 3@even.mrcs 1@odd.mrcs

"""


def edit(path: Path, *changes: tuple[str, str]) -> Path:
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return path


def image_points(series: TiltSeries) -> NDArray[np.float64]:
    """Images of 27 voxels of the default region, ``(n_tilts, 2, 27)``: the same whatever the frame."""
    region = Region.of(series)
    steps = [np.linspace(0, n - 1, 3) for n in region.shape[::-1]]
    voxels = np.stack(np.meshgrid(*steps, indexing="ij"), -1).reshape(-1, 3)
    world = np.concatenate([np.asarray(region.origin) + voxels, np.ones((27, 1))], 1)
    return np.asarray(series.projections[:, :2] @ world.T)
