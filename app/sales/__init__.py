"""Anonymous daily counts: how much of each listed drug a pharmacy sold, and what of it was registered.

Owns sales statements with their revisions and items. Verbs: `report_sales`; look-ups: `list_sales`, `reconcile_pharmacy`. A
statement says what was sold on one day as a whole, so the last one wins and what it does not name was not sold; an empty one
says that nothing was. Counts are taken in every regime: in normal times they are all that anybody may send.

Invariants: one statement of a pharmacy and day is in force, the one stated last, whatever order they arrive in; earlier ones
stay as revisions and are never changed; the same statement again changes nothing; lines that mean no listed drug are told
and not kept; nothing here concerns a person.
"""
