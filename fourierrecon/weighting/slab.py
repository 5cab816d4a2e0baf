"""The thickness of the specimen's slab, as a parameter of a weighting."""

from __future__ import annotations

from fourierrecon.errors import UsageError
from fourierrecon.weighting.base import TiltViews


class WithThickness:
    """Part of a weighting with a field ``thickness``, Å; None: the depth of the region."""

    thickness: float | None

    def check_thickness(self) -> None:
        """Refuse a thickness that is no number above 0.

        Raises
        ------
        UsageError
            If it is not.
        """
        if self.thickness is not None and not self.thickness > 0:
            raise UsageError(f"thickness {self.thickness:g} Å of the specimen must be above 0")

    def thickness_in(self, views: TiltViews) -> float:
        """Give the thickness in voxels."""
        return views.depth if self.thickness is None else self.thickness / views.voxel_size

    @property
    def thickness_words(self) -> str:
        """The thickness, in words."""
        return "of the region" if self.thickness is None else f"{self.thickness:g} Å"
