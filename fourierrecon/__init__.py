"""fourierrecon: cryo-electron tomograms, reconstructed in Fourier space."""
