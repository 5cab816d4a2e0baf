"""STAR files: one parser of our own.

``text`` splits a file into blocks and writes words so that they are read back the same; ``table`` gives columns as
words or as checked numbers, and writes files. Errors name file, block, column and row. Knows ``files`` of this room.
"""
