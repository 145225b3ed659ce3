"""What is made of new rows while the database writes them: links, outcomes, answers.

A transaction waits for the database a dozen times. Whoever records purchases one by one has a receipt to link and an answer to sign for
each, which takes as long as all of these waits; so it is done meanwhile, in steps of some microseconds. What was made of rows that
somebody else was faster with, or in a transaction that fails, is told to nobody.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from app.core.sealing import Keyring
from app.registrations.chain import Entry, LinkKind, Receipt
from app.registrations.drafts import Draft, Recorded
from app.registrations.receipts import Heads, Linked


class Ahead:
    """The new rows of one transaction."""

    def __init__(
        self,
        drafts: Sequence[Draft],
        outcome: Callable[[Draft, Receipt], Recorded],
        *,
        heads: Heads | None,
        now: datetime,
        keyring: Keyring,
    ) -> None:
        self.entries = {draft.id: _link_entry(draft) for draft in drafts}
        """What becomes the rows' links, by registration."""
        self.is_behind = False
        """Whether there are outcomes now that `steps` could not know of."""
        self._drafts = {draft.id: draft for draft in drafts}
        self._outcome = outcome
        self._heads = heads
        self._now, self._keyring = now, keyring
        self._outcomes: dict[UUID, Recorded] = {}
        self._links: dict[UUID, list[Linked]] = {}
        self._unlinked: dict[UUID, list[Entry]] = {}
        for entry in self.entries.values():
            self._unlinked.setdefault(entry.pharmacy_id, []).append(entry)

    def steps(self) -> Iterator[None]:
        """Do the work; others may do something between any two steps."""
        while self._unlinked:
            self._link_next()
            yield
        for draft_id, outcome in list(self._outcomes.items()):
            tell = self._drafts[draft_id].named.submission.tell
            if tell is not None and outcome.told is None:
                outcome.told = tell(outcome)
                yield

    def links(self) -> Mapping[UUID, Sequence[Linked]]:
        """Return links of the rows by pharmacy, where its chain is known, and make those that are not made yet."""
        while self._unlinked:
            self._link_next()
        return self._links

    def settle(self, receipts: Mapping[UUID, Receipt]) -> dict[UUID, Recorded]:
        """Return what became of the rows that have these receipts."""
        settled = {}
        for draft_id, receipt in receipts.items():
            outcome = self._outcomes.get(draft_id)
            if outcome is None or outcome.receipt is not receipt:
                outcome = self._outcomes[draft_id] = self._outcome(self._drafts[draft_id], receipt)
                self.is_behind = True
            settled[draft_id] = outcome
        return settled

    def _link_next(self) -> None:
        _, entries = self._unlinked.popitem()
        if self._heads is None:
            return
        made = self._heads.make_links(entries, now=self._now, keyring=self._keyring)
        self._links.update(made)
        for linked in made.values():
            for receipt, _ in linked:
                draft_id = receipt.link.registration_id
                self._outcomes[draft_id] = self._outcome(self._drafts[draft_id], receipt)


def _link_entry(draft: Draft) -> Entry:
    """Return what becomes the link of a new registration in its pharmacy's chain."""
    pharmacy_id, reference = draft.named.name
    return Entry(pharmacy_id, draft.id, reference, 1, LinkKind.RECORDED, draft.named.content)
