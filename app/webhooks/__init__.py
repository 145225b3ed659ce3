"""The post office: it carries events to whoever subscribed to them, and knows no sender.

Chapters above declare their kinds of event (`kinds.declare`) and hand events over inside their own transaction
(`publishing.publish`): the events, one delivery per subscriber and its job commit together with what caused them, or not
at all. A worker then signs (`signing.py`), sends with no transaction open (`sender.py`, which checks the address where the
socket is made) and keeps every attempt (`jobs.py`). Verbs of `service.py`: `create_subscription`, `change_subscription`,
`delete_subscription`, `rotate_secret`, `send_test_event`, `resend_delivery`.

Invariants: the sequence of events is the order of their commits; one delivery per (event, subscription); the id and the
body are the same on every attempt; identified data is readable only in memory while it is being signed; nobody is sent
anything from outside the division in which the subscription was made.
"""
