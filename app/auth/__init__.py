"""Who may do what.

An account is a person or an organisation with one role, bound to a division (and those below it) or, for the role
`pharmacy`, to one pharmacy or a chain of them. It acts through keys: 256 random bits, shown once, stored as a hash.
`rules.py` holds the one table of permission × role; `guards.py` turns a bearer token into an `Actor` for a route.

Verbs: `create_key`, `rotate_key`, `revoke_key`. Invariants: every route has a guard or stands on the public list; a revoked key is
refused everywhere within two seconds; two keys of one official are one account, so nobody approves and pays alone.
"""
