import hashlib
import hmac
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.audit.rules import GENESIS, Link, Patrol, go_on, link_message, verify
from tests.conftest import MOMENT

contents = st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=5), max_size=3)


def mac(key_id: int, message: bytes) -> bytes:
    return hmac.digest(bytes([key_id]) * 32, message, hashlib.sha256)


def chain(entries: list[dict[str, Any]]) -> list[Link]:
    links, previous = [], GENESIS
    for position, content in enumerate(entries, 1):
        previous = mac(position % 3, link_message(previous, position, content))
        links.append(Link(position, position % 3, previous, content))
    return links


class TestAChain:
    @given(st.lists(contents, max_size=8), st.data())
    def test_is_whole_however_it_is_read(self, entries: list[dict[str, Any]], data: st.DataObject) -> None:
        links = chain(entries)
        assert (verify(mac, links).whole, verify(mac, links).links) == (True, len(links))
        cut = data.draw(st.integers(0, len(links)))
        first = verify(mac, links[:cut])
        rest = verify(mac, links[cut:], links[cut - 1].hash if cut else GENESIS, first.links + 1)
        assert (rest.whole, rest.links) == (True, len(links))

    @given(st.lists(contents, min_size=1, max_size=8), st.data())
    def test_breaks_at_the_first_link_that_was_touched(
        self, entries: list[dict[str, Any]], data: st.DataObject
    ) -> None:
        links = chain(entries)
        at = data.draw(st.integers(0, len(links) - 1))
        link = links[at]
        flipped = bytes([link.hash[0] ^ 1]) + link.hash[1:]
        touched = data.draw(
            st.sampled_from(
                [
                    replace(link, content={**link.content, "added": 1}),
                    replace(link, hash=flipped),
                    replace(link, key_id=link.key_id + 1),
                    replace(link, position=link.position + 1),
                ]
            )
        )
        found = verify(mac, [*links[:at], touched, *links[at + 1 :]])
        assert (found.whole, found.broken_at, found.links) == (False, at + 1, at)

    @given(st.lists(contents, min_size=2, max_size=8), st.data())
    def test_breaks_where_a_link_was_taken_out_or_put_in(
        self, entries: list[dict[str, Any]], data: st.DataObject
    ) -> None:
        links = chain(entries)
        at = data.draw(st.integers(0, len(links) - 2))
        assert verify(mac, links[:at] + links[at + 1 :]).broken_at == at + 1
        assert verify(mac, [*links[: at + 1], links[at], *links[at + 1 :]]).broken_at == at + 2

    def test_cannot_be_made_without_the_key(self) -> None:
        forged = [replace(link, hash=hashlib.sha256(link.hash).digest()) for link in chain([{"a": 1}])]
        assert not verify(mac, forged).whole


class TestAPatrol:
    @given(st.lists(contents, max_size=9), st.lists(st.integers(1, 4), min_size=10, max_size=10), st.data())
    def test_finds_whatever_it_steps_over_and_nothing_else(
        self, entries: list[dict[str, Any]], steps: list[int], data: st.DataObject
    ) -> None:
        links = chain(entries)
        broken = data.draw(st.none() | st.integers(1, len(links))) if links else None
        if broken:
            links[broken - 1] = replace(links[broken - 1], content={"touched": object()})
        patrol = Patrol()
        for step in steps:
            behind = links[patrol.position :]
            patrol = go_on(patrol, mac, behind[:step], ended=len(behind) <= step, now=MOMENT)
            if patrol.broken_at or not patrol.position:
                break
        assert patrol.broken_at == broken
        assert patrol.verified_up_to == (patrol.position if broken else len(links))

    @given(st.lists(contents, min_size=1, max_size=6), st.data())
    def test_notices_when_the_end_of_the_chain_is_gone(
        self, entries: list[dict[str, Any]], data: st.DataObject
    ) -> None:
        links = chain(entries)
        once = go_on(Patrol(), mac, links, ended=True, now=MOMENT)
        left = data.draw(st.integers(0, len(links) - 1))
        assert go_on(once, mac, links[:left], ended=True, now=MOMENT).broken_at == left + 1
