"""Who somebody is.

Owns the identifiers of buyers, patients and cases: how a document number, a phone and a name are normalised
(`documents.py`, `phones.py`, `names.py`), when two documents are one slip apart (`nearness.py`), and the `people` table in which
each distinct presentation – what was shown at the counter or stands on a case list – is kept once, sealed, and found by keyed
hashes only. Verbs: `ensure_people`, `open_people`. Registrations and cases point here and hold no identifier themselves.

Invariants: a presentation is never changed; an identifier at rest is sealed or a keyed hash; an empty name, document or
phone is missing, and missing never equals missing; the two ways to write one number (15 and 18 digits, full width, with
spaces) have one comparable value.
"""
