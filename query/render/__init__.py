"""From answers to what is written: a sheet of typed columns, and one writer for each format.

Data flows one way: what the reader found → `views` and `records` (columns) → `sheet` → `formats` → text or a file.
`history` has a form of its own for people, in `story`. Nothing here reads an archive or a clock.
"""
