"""Options of commands that make many tomograms, in groups: products, sets, clusters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fourierrecon.cli.options import FLAG, cluster_option, one_of, set_option

if TYPE_CHECKING:
    from fourierrecon.sets.cluster import Cluster


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """Volumes and files to make of each tomogram, which decide what that takes."""

    halves: Annotated[
        str | None,
        set_option(
            "KIND",
            "Make half volumes as well, for denoising and resolution: of even and odd tilts (tilts) or frames "
            "(frames, if the set names their images)",
            "--halves",
            autocompletion=one_of(lambda: ("tilts", "frames")),
        ),
    ] = None
    do_proj: Annotated[
        bool, set_option(FLAG, "Make a 2D projection of each volume as well: a sum of sections", "--do_proj")
    ] = False
    centre_proj: Annotated[
        int,
        set_option(
            "VOXELS", "Middle section of the projection, counted from that of the tomogram. Default: 0", "--centre_proj"
        ),
    ] = 0
    thickness_proj: Annotated[
        int, set_option("VOXELS", "Thickness of the projection. Default: 10", "--thickness_proj", least=1)
    ] = 10
    ending: Annotated[
        str,
        set_option("FORMAT", "mrc or zarr. Default: mrc", "--format", autocompletion=one_of(lambda: ("mrc", "zarr"))),
    ] = "mrc"


@dataclass(frozen=True, kw_only=True)
class ProductOptions(FileOptions):
    """Products to make of each tomogram of a set."""

    thumbnails: Annotated[
        bool,
        set_option(
            FLAG,
            "Draw the central section of each tomogram into FOLDER/thumbnails/, or not. Default: --thumbnails",
            "--thumbnails/--no_thumbnails",
        ),
    ] = True
    redo: Annotated[
        bool,
        set_option(
            FLAG, "Replace volumes that were made from other inputs, with other options or by another version", "--redo"
        ),
    ] = False


@dataclass(frozen=True, kw_only=True)
class CompanionOptions(FileOptions):
    """Files to make of each tomogram of a set that is complete."""

    generate_split_tomograms: Annotated[
        bool, set_option(FLAG, "The same as --halves frames", "--generate_split_tomograms")
    ] = False
    companions: Annotated[
        list[str] | None,
        set_option(
            "NAME",
            "Volume to write beside each tomogram; may be repeated: coverage (images that see a voxel), weight (of "
            "Fourier points), wedge (Fourier points that the tilts measured), transfer (what the tomogram holds of "
            "each Fourier component, for matching templates); or files for other programs: denoising (half volumes for "
            "cryoCARE, IsoNet, IsoNet2, DeepDeWedge, Icecream), pytom (angles, exposures and defocus for "
            "pytom-match-pick), aligned_stack (aligned images for CryoLithe)",
            "--companions",
            autocompletion=one_of(
                lambda: ("coverage", "weight", "wedge", "transfer", "denoising", "pytom", "aligned_stack")
            ),
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class SetOptions(ProductOptions, CompanionOptions):
    """Products of a set that is complete, and the order of work."""

    resume: Annotated[
        bool,
        set_option(
            FLAG,
            "Keep volumes of earlier runs, and name those that no longer fit; --no_resume makes all of them again. "
            "Default: --resume",
            "--resume/--no_resume",
        ),
    ] = True
    only_do_unfinished: Annotated[bool, set_option(FLAG, "The same as --resume", "--only_do_unfinished")] = False
    part: Annotated[
        str | None,
        set_option(
            "I/N",
            "Make only every N-th tomogram, starting with the I-th: for job arrays, which may run side by side",
            "--shard",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """Workers on other machines."""

    scheduler: Annotated[
        str | None,
        cluster_option(
            "ADDRESS",
            "Give the tomograms to the workers of this Dask scheduler, tcp://HOST:PORT or tls://HOST:PORT; they need "
            "the same files under the same paths",
            "--scheduler",
        ),
    ] = None
    cluster: Annotated[
        str | None,
        cluster_option(
            "KIND",
            "Start workers of Dask: local (on this machine), or slurm, pbs, lsf, as in Dask's jobqueue.yaml",
            "--cluster",
            autocompletion=one_of(lambda: ("local", "slurm", "pbs", "lsf")),
        ),
    ] = None
    workers: Annotated[int | None, cluster_option("N", "Number of workers to start", "--workers", least=1)] = None
    tls_ca: Annotated[
        Path | None,
        cluster_option(
            "PEM", "Certificate authority for --scheduler tls://. Default: from Dask's configuration", "--tls_ca"
        ),
    ] = None
    tls_cert: Annotated[
        Path | None,
        cluster_option("PEM", "Certificate for --scheduler tls://. Default: from Dask's configuration", "--tls_cert"),
    ] = None
    tls_key: Annotated[
        Path | None, cluster_option("PEM", "Key of that certificate. Default: from Dask's configuration", "--tls_key")
    ] = None

    def chosen(self) -> Cluster | None:
        """Give the cluster that is asked for; None: make the tomograms here."""
        if not any(vars(self).values()):
            return None
        from fourierrecon.sets.cluster import Cluster

        return Cluster(
            scheduler=self.scheduler, kind=self.cluster, workers=self.workers, tls_ca=self.tls_ca,
            tls_cert=self.tls_cert, tls_key=self.tls_key,
        )  # fmt: skip
