"""How good images and volumes are."""
