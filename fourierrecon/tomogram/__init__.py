"""One tomogram, from request to file."""
