"""Listed drugs: what must be registered, where and when; and which of them a till has just sold.

Owns drug lists (versioned, per division, dated), their entries and the aliases by which entries are found. Verbs:
`load_list`, `import_lists`, `load_shipped`, `add_alias`, `set_limit`; `CATALOGUE` holds everything in memory and hands out a
`Resolver` per division and day. Wording is read by `wording.py` with the words of `vocabulary.py`, product names are read
by `names.py`; all are pure. What is covered and what is not: docs/decisions/list-wording.md.

Invariants: a version of a list is never edited, a replacement is a new version and ends the one before; the lists in force
at a place are those whose division is a prefix of its own and whose period (half-open) holds the day; the same line
resolves to the same entry whatever the order of lists and aliases; nothing is shipped that no source confirms.
"""
