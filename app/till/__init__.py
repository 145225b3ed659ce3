"""A till's post box: what a POS drops into a folder reaches the service, each purchase once, whatever breaks in between.

Another machine than the service, so it knows the client and nothing else of it. Owns the folder's protocol (`folder.py`), what
files may hold (`reading.py`, `tables.py`), the spool (`spool.py`), the sending (`sender.py`) and the round of all of them
(`rounds.py`); `status.py` tells how it stands and `command.py` is the command line.

Invariants: a file is read only after it is complete and taken out of the POS's reach; its rows are in the spool, on the disk,
before anything else happens to it; a row leaves the spool only with the service's answer to it, and a refused one only after it
stands in the refused file. Every step may be cut off and done again. No log line holds anything of a file, not even its name.
"""
