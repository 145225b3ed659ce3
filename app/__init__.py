"""Pharmacy Sentinel: a city's pharmacies are the first to notice an outbreak.

The folders of this package are chapters, and each uses only those above it in this list:

    core → audit → divisions → auth → people → catalogue → pharmacies → webhooks → imports → regimes → questionnaires
    → registrations → sales → cases → matching → rewards → alerts → capture → histories → reports → flow

`flow.py` is the story that ties them together: read it first. Every chapter has the same rooms (`models`, `schemas`,
`rules`, `queries`, `service`, `routes`, `jobs`) and leaves out those that it does not need.

`client` and `till` are the other side of the wire: what runs in a pharmacy and knows only HTTP.
"""
