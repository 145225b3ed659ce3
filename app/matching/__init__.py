"""Does a registration belong to a case?

Owns matches. `rematch` compares the registrations or cases that it is given with everything on the other side and brings the
stored matches into line: new ones appear, those that no longer hold are withdrawn, those that hold again are restored. It is
called after each fact's commit, by a job that each side enqueues, so whichever of two simultaneous facts commits last
sees the other.

Invariants: the set of matches depends on the facts alone, never on their order; a match says which fields agreed; a phone
alone is nothing; two different resident numbers are two people, whatever else agrees.
"""
