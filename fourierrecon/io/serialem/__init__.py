"""Notes of SerialEM (mdoc)."""
