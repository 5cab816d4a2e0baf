"""The machine: threads, memory, scratch files, compiled loops, names that load late.

It knows nothing of tomograms; any room may use it. It may know errors alone.
"""
