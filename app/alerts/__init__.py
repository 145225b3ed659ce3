"""What somebody must know now; formed, passed on, answered and fed back (形成·传递·应答·反馈).

Owns alerts and their transitions. `raise_alerts` forms them – once for each key, however often it is asked – and hands their
events to the post office in the same transaction; `acknowledge_alert` and `close_alert` are the answer and the feedback.

Invariants: one alert per key; raised → acknowledged → closed (closing needs feedback; an alert may be closed without having been
acknowledged); every step keeps who, when and what was said; an alert without an event does not exist.
"""
