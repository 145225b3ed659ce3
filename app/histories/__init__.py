"""A buyer's past, and who was near.

Owns no table: it reads what registrations, cases and matches say about one person across all the ways in which that person was
presented. Verbs: `search_buyers` (by document, phone or name, for a purpose), `read_history`, `find_co_exposures` and, from
a case, `trace_contacts` (who else was at the counter), and `reveal_buyer` (identities, for a purpose). A buyer's id is that of the
earliest presentation; any presentation's id leads to the buyer.

Invariants: nobody sees what was presented, bought or listed outside their division, nor finds anybody by it; every look is
written to the audit trail, and no look leaves an identity there; identities are opened by `reveal_buyer` alone.
"""
