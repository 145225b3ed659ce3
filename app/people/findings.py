"""What a rule may say about an identifier: a problem refuses it, a notice lets it pass with a word of warning.

Neither ever repeats the value: both end up in answers, and problems in logs of those who call us.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an identifier cannot be taken.

    `pointer` is a JSON pointer relative to the person; `code` is stable; `detail` is for people.
    """

    pointer: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Notice:
    """What somebody should look at, although the identifier is taken. Members as in `Problem`."""

    pointer: str
    code: str
    detail: str
