"""Options of the local alignment that only reconstructions take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fourierrecon.cli.options import alignment_option


@dataclass(frozen=True, kw_only=True)
class LocalOptions:
    """Tiles of a local alignment."""

    local_residual: Annotated[
        float,
        alignment_option(
            "PX",
            "What the tiles may leave of a local alignment, binned pixels; smaller takes more tiles. Default: 0.2",
            "--local_residual",
        ),
    ] = 0.2
