"""The machine: threads, memory, scratch files, compiled loops. It knows nothing of tomograms."""
