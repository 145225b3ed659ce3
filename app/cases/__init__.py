"""The health authority's list of cases.

Owns cases and the history of their classifications. Verbs: `record_cases` (a list, again and again, with overlaps) and
`reclassify_case` (any change, with a reason). Each change enqueues `cases.changed`, from which matches, alerts and rewards follow.

Invariants: (authority, case number) names a case for ever; a list may add what was missing and raise a classification, and
never lowers one or contradicts what is stored; every classification a case ever had stays in its history; a case is
confirmed exactly when it has a time of confirmation.
"""
