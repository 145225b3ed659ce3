"""Purchases registered at the counter.

Owns registrations, their items and earlier revisions, and the chains of receipts. `record_registrations` always takes many rows –
one till's single purchase is a batch of one – and does for all of them together: find those that were sent before, judge the new
ones, keep people, rows and items, and enqueue what follows. `intake.py` gathers single purchases that arrive at the same moment
into one transaction, and `ahead.py` makes links and answers while it waits; `correct_registration` and `void_registration` come one by
one; `chain.py` says what a receipt is.

Invariants: `(pharmacy, client_reference)` names a purchase for ever – the same content again is a duplicate, other content a
conflict; a row is answered only after its commit; a bad row never keeps a good one out; what the regime does not allow to be kept
is not kept; a field that is missing is a flag, not a refusal; nothing is edited silently: earlier revisions and voids stay; each
change is a link of its pharmacy's one chain of receipts.
"""
