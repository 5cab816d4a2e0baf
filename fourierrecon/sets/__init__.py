"""Many tomograms."""
