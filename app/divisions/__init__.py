"""Administrative divisions: where a pharmacy, a regime, a case or an address lies.

Owns the table `divisions` (GB/T 2260 codes of 2, 4 and 6 digits, statistics codes of 9 digits for streets and 12 for
communities) and the data that ships with the package. Verbs: `load_shipped`, `import_divisions`. The code says it all:
its length is its level, its prefix is its parent, and a division lies within another exactly when the other's code is
its prefix. So a scope is a string comparison, in Python (`rules.within`) and in SQL alike. Every division but a
province has its parent in the table. Known codes are held in memory (`queries.DIVISIONS`), as each registration asks.

Shipped are all provinces, cities and counties, and the streets of Shenzhen; an unknown code is refused where a
decision depends on it (`service.require_known`), and no more than a warning in a buyer's address.
"""
