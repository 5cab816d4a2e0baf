"""The numerics: images to samples, samples to planes, planes to slabs."""
