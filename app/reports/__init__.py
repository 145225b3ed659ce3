"""What officials and auditors read: figures and the trail. Reads every chapter, writes nothing.

Doors: the reward report (totals per pharmacy, division or month, each line traceable to its decisions) and the audit
trail with the proof of its integrity.
"""
