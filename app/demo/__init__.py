"""A city that never was: the story which `sentinel demo` plays, and what must come out of it.

Owns streets, pharmacies, households and residents (`city.py`, `papers.py`), the circumstances of the weeks told (`stage.py`), who buys
what and when (`shelf.py`, `counter.py`, `shoppers.py`), an outbreak and the courses of those it reaches (`outbreak.py`, `courses.py`), what the
tills send (`tills.py`), what the health authority lists (`caselists.py`) and the truth (`truth.py`). `story.py` puts it together:
`plan(scale, seed, end)` gives the hours with their requests, ready to be sent, and every figure that must follow. `play/` plays it.

Invariants: nothing but `play/` knows the service – no import from another chapter, no network, no clock, no database – because only
a stranger's account can catch it out. The same seed and end give the same story, byte for byte. All people are synthetic: their names
count in heavenly stems and earthly branches, their resident numbers bear the sequence 000, their phones the prefix 154, none of
which is ever given out.
"""
