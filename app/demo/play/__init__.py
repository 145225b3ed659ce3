"""How the story is played: a driver, its processes, a subscriber, and the comparison with the truth.

`command.py` begins and ends everything; `driver.py` carries out the hours through the real HTTP API (`caller.py`), with
the API and the worker as child processes (`processes.py`, `keeper.py`) whose clock it sets (`clock.py`). `notebook.py` is
what the tills were told, `subscriber.py` what arrived at the endpoint, `reading.py` what the service says afterwards;
`verdict.py` holds all three to the plan's truth, `figures.py` sums up, `report.py` and `progress.py` show it.

Invariants: from the first hour on the service is spoken to by HTTP alone, with tokens of the roles that may. Whatever is
not answered is sent again until it is. A difference is told by ids, never by identities.
"""
