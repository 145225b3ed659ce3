"""Does a registration belong to a case?

Owns matches and their reviews. `rematch` compares the registrations or cases that it is given with everything on the other side and brings the
stored matches into line: new ones appear, those that no longer hold are withdrawn, those that hold again are restored. It is
called after each fact's commit, by a job that each side enqueues, so whichever of two simultaneous facts commits last
sees the other. What finds a match is one of the passes (`passes.py`); possible ones wait until a reviewer says of the two people
that they are one, or two (`review_match`).

Invariants: the set of matches depends on the facts and on what reviewers said, never on their order; what was said holds wherever
these two people meet; a match says which pass found it and which fields agreed; a phone alone is nothing; two different resident
numbers are two people, whatever else agrees.
"""
