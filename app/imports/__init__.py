"""Files of rows: handed in, kept sealed, worked through in the background, answered row by row.

Owns imports, the pieces of the uploaded file and what became of each thousand rows. Knows no trade: an `Importer` of another chapter
says which columns there are and records the rows, through the same verb as every other door.

`receiving.py` takes an upload piece by piece, `working.py` works it through; `columns.py` and `cells.py` read the header and the rows
of a table, whatever it is about.

Invariants: a file may hold identities, so it is never plain at rest and is gone when the work is done; the rows of a chunk and the
count of them commit together, so a worker that is killed loses nothing and counts nothing twice, and several may work on one file; a
file without rows is said to be one.
"""
