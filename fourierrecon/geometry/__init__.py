"""Where things lie: projections, regions, corrections, coordinate frames, order of axes."""
