"""Machinery without a business word.

Settings, the clock, identifiers, the database and its embedded server, errors as problem details, pagination,
sealing, jobs, middleware, logs, health and metrics. Nothing in here knows what a pharmacy is; every other chapter
stands on it. Three promises are kept here and nowhere else: a request is answered only after its transaction has
committed (`database.py`, `http.py`), a fact and its follow-up job share one transaction (`jobs.py`), and an identity
is readable only through the keyring (`sealing.py`).
"""
