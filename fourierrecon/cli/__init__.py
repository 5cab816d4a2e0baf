"""The command line: options in, calls of the library, lines on the screen out. It may know every other room.

``app`` holds the commands and turns errors into messages and exit statuses; each command has a file of its own.
``options`` and ``option_groups`` declare options, ``groups`` hands them to commands as records, and ``arguments`` turns
these records into requests. ``messages_table`` turns arguments that the library names into options.
"""
