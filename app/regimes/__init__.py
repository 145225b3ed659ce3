"""What a division requires today.

Registration is not always lawful: in normal times only anonymous counts are sent, a local case switches registration on, risk
areas stop selling. Owns the table `regime_states`: dated states of a division for a disease, with the fields that a
registration must then have. Verb: `declare_regime`, an official's act.

What holds at a place on a day follows from the states alone (`rules.RegimeCalendar`): for each disease the state of the
narrowest division that has one on that day; across diseases the strictest; without any, `counts`. The calendar is held
in memory (`queries.REGIMES`), because every registration asks it.

Invariants: states of one division and disease never overlap (an exclusion constraint says so too); periods are half-open; a
state is ended by the next one or by its own last day, never removed.
"""
