"""Who did what, and proof that nothing was taken out of the record.

Every verb that writes calls `record` in its own transaction, so an act and its entry exist together or not at all.
Entries are never changed or deleted (a trigger refuses it). A job chains them afterwards (`chain_entries`): each link is a
keyed hash over the entry and the link before, so a removed, changed or inserted entry breaks the chain from there on.
Chaining apart from writing keeps tills from queueing behind one another for the last link. Another job verifies the whole chain,
some links at a time and over and over (`patrol_chain`); a page of the trail verifies what it shows (`read_integrity`).

Invariants: no identity in `detail` or `purpose`; one chain; a link once made is never made anew.
"""
