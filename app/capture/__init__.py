"""The net: what slipped through it, and how that is known.

Owns declared purchases (what a case told an interviewer), the days on which pharmacies reported, and silences. Verbs:
`declare_purchases`, `retract_purchase`; part of the story: `judge_purchases`, `note_reports`; by the clock: `watch_silences`.
Figures: capture rate, estimated purchases that nobody registered, timeliness, completeness, gaps.

Invariants: whether a purchase is covered depends on the facts alone, never on their order; one registered drug covers one
declared purchase at most; no pharmacy is blamed for what it had no duty to register, or for a case that is none; a silence is
told of once, and so is its end; every figure can be counted again from what the API shows.
"""
