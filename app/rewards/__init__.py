"""What a pharmacy earns for a registration that met the policy, and why.

Owns policies, decisions with their history, and the ledger. A decision stands for one (case, pharmacy); it is computed
by pure functions (`criteria.py`, `rules.py`) from facts and from the policy in force when the case was confirmed, and
lists every criterion, met or not, in words that can be read out. `evaluate_cases` computes, in a job of its own
(`evaluate_later`), so that nobody who looks for the sick waits for it; officials `approve_reward`, `reject_reward`,
`pay_reward` and `reverse_reward`.

Invariants: under a `first` policy at most one pharmacy holds a case's reward; no pharmacy goes over its monthly cap; who
approved does not pay; a settled decision is never recomputed, only reversed; the ledger is added to and never changed,
and its sum is what has been paid.
"""
