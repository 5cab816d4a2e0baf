"""The report on reconstructed tomograms: one HTML page that needs no network, and a table for programs.

``subjects`` finds the tomograms, ``assessment`` works out the figures of each, ``page`` and ``metrics`` write them.
A folder of products goes in; ``report.html`` and ``metrics.csv`` come out. This room may know all others but cli.
"""
