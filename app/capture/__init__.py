"""The net: what slipped through it, and how that is known.

Owns declared purchases: what a case told an interviewer. Verbs: `declare_purchases`, `retract_purchase`, `judge_purchases` (part of
the story). Figures: capture rate, estimated purchases that nobody registered, timeliness, completeness, gaps.

Invariants: whether a purchase is covered depends on the facts alone, never on their order; one registered drug covers one
declared purchase at most; no pharmacy is blamed for what it had no duty to register, or for a case that is none; every
figure can be counted again from what the API shows.
"""
