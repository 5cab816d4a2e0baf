"""Pictures and views of volumes."""
