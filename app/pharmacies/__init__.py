"""Reporting sites and their standing.

Owns the tables `pharmacies`, `pharmacy_standings` and `roster_entries`. Verbs: `enrol_pharmacy`, `change_pharmacy`,
`issue_pharmacy_key`, `revoke_pharmacy_key`, `set_roster`, `import_pharmacies`. A pharmacy is named by its unified social credit code
and its licence together: one company may run several licensed shops.

A standing is a statement with a day from which it holds and a reason; statements are only ever added. The standing on a day is
what was last said about that day (`rules.standing_on`), so it is nowhere stored a second time. A roster names those who work at
a pharmacy, day by day; it points to sealed people and answers with counts. Every till row asks which division a pharmacy lies
in and whether it is closed, so these facts are held in memory (`queries.PHARMACIES`).
"""
