"""Receipts: what an answer proves, and what `sentinel receipts verify` finds. Everybody here is synthetic."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from click.testing import CliRunner

from app.cli import cli
from app.registrations.verifying import Report, read_keys, verify
from tests.conftest import Clients
from tests.factories.world import World, a_person, a_purchase
from tests.registrations.conftest import send
from tests.registrations.test_corrections import a_correction, correct, void

Verify = Callable[..., Report]


@pytest.fixture
async def keys(anonymous: httpx.AsyncClient) -> str:
    answer = await anonymous.get("/v1/receipts/keys")
    assert answer.status_code == 200
    return answer.text


def found(report: Report) -> list[tuple[int, str]]:
    return [(finding.line, finding.code) for finding in report.findings]


def checked(lines: Sequence[Any], keys: str, **options: Any) -> Report:
    return verify([json.dumps(line) for line in lines], read_keys(keys), **options)


async def a_day(till: httpx.AsyncClient) -> list[dict[str, Any]]:
    """Five lines that a till collected on a day with a correction and a void."""
    bodies = [a_purchase(f"SYN-{number}", temperature_c=36 + number) for number in range(3)]
    answers = [await send(till, body) for body in bodies]
    correction = a_correction(temperature_c=39)
    corrected = await correct(till, answers[0]["id"], correction)
    voided = await void(till, answers[1]["id"])
    return [
        *({"sent": body, "receipt": answer["receipt"]} for body, answer in zip(bodies, answers, strict=True)),
        {"sent": correction, "receipt": corrected["receipt"]},
        {"sent": {"reason": "Cancelled"}, "receipt": voided["receipt"]},
    ]


class TestAReceipt:
    async def test_follows_the_pharmacy_s_one_before(self, till: httpx.AsyncClient, world: World) -> None:
        first, second = await send(till, a_purchase("A")), await send(till, a_purchase("B"))
        one, two = first["receipt"], second["receipt"]
        assert (one["number"], one["previous"], one["kind"]) == (1, "00" * 32, "recorded")
        assert (two["number"], two["previous"]) == (2, one["hash"])
        assert UUID(one["pharmacy_id"]) == world.pharmacies[0]
        assert (one["registration_id"], one["client_reference"]) == (first["id"], "A")
        assert one["received_at"] == first["received_at"]

    async def test_says_nothing_about_anybody(self, till: httpx.AsyncClient) -> None:
        body = a_purchase(buyer=a_person())
        first, second = [(await send(till, body | {"client_reference": name}))["receipt"] for name in "AB"]
        assert first["commitment"] != second["commitment"]
        assert first["salt"] != second["salt"]
        assert not [secret for secret in ("王小样", "13800138000", "11010519491231002X") if secret in json.dumps(first)]

    async def test_is_the_same_for_a_repetition_and_when_asked_for(
        self, till: httpx.AsyncClient, world: World, client_for: Clients
    ) -> None:
        told = await send(till, a_purchase())
        assert (await send(till, a_purchase(), 200))["receipt"] == told["receipt"]
        corrected = await correct(till, told["id"], a_correction(temperature_c=38))
        asked = (await till.get(f"/v1/registrations/{told['id']}/receipt")).json()
        assert asked.pop("earlier") == [told["receipt"]]
        assert asked == corrected["receipt"]
        auditor = client_for(world.tokens["auditor"])
        seen = (await auditor.get(f"/v1/registrations/{told['id']}/receipt")).json()
        assert seen.pop("earlier") == [told["receipt"] | {"salt": None}]
        assert seen == corrected["receipt"] | {"salt": None}
        epidemiologist = client_for(world.tokens["epidemiologist"])
        assert (await epidemiologist.get(f"/v1/registrations/{told['id']}/receipt")).status_code == 403

    async def test_of_a_refused_purchase_does_not_exist(self, till: httpx.AsyncClient) -> None:
        await send(till, a_purchase("A", items=[{"name": "合成维生素C片"}]), 422)
        assert (await send(till, a_purchase("B")))["receipt"]["number"] == 1


class TestAPharmacysChain:
    async def test_can_be_listed_and_checked(
        self, till: httpx.AsyncClient, keys: str, world: World, client_for: Clients
    ) -> None:
        lines = await a_day(till)
        page = (await till.get("/v1/receipts", params={"limit": 3})).json()
        rest = (await till.get("/v1/receipts", params={"limit": 3, "cursor": page["next_cursor"]})).json()
        receipts = page["items"] + rest["items"]
        assert receipts == [line["receipt"] for line in lines]
        assert found(checked(receipts, keys)) == []
        auditor = client_for(world.tokens["auditor"])
        of_pharmacy = await auditor.get("/v1/receipts", params={"pharmacy": str(world.pharmacies[0])})
        assert found(checked(of_pharmacy.json()["items"], keys)) == []
        assert (await auditor.get("/v1/receipts")).status_code == 422
        assert (
            await auditor.get("/v1/receipts", params={"pharmacy": "01890000-0000-7000-8000-000000000000"})
        ).status_code == 404

    async def test_goes_through_batches_whose_answers_prove_it_by_themselves(
        self, till: httpx.AsyncClient, keys: str
    ) -> None:
        single = a_purchase("SINGLE")
        answer = await send(till, single)
        rows = [a_purchase(f"B-{at}", buyer=a_person(phone=f"1380000{at:04d}")) for at in range(20)]
        rows[7] = {"client_reference": "BROKEN"}
        rows[9] = rows[8]
        rows[11] = single
        told = (await till.post("/v1/registrations/batch", json=rows)).json()
        assert [one["receipt"] is None for one in told["results"]] == [at in (7, 9, 11) for at in range(20)]
        [head] = told["receipts"]
        assert (head["first"], head["number"], head["previous"]) == (2, 18, answer["receipt"]["hash"])
        lines = [{"sent": single, "receipt": answer["receipt"]}, {"sent": rows, "answer": told}]
        report = checked(lines, keys)
        assert (found(report), report.contents) == ([], 18)
        listed = (await till.get("/v1/receipts")).json()["items"]
        assert found(checked(listed, keys)) == []
        assert listed[-1]["hash"] == head["hash"]
        rows[3]["temperature_c"] = 41
        assert (2, "content_differs") in found(checked(lines, keys))


class TestVerifying:
    async def test_finds_nothing_in_what_was_collected(self, till: httpx.AsyncClient, keys: str) -> None:
        report = checked(await a_day(till), keys)
        assert (found(report), report.contents) == ([], 5)

    async def test_finds_and_names_what_was_done_to_it(self, till: httpx.AsyncClient, keys: str) -> None:
        lines = await a_day(till)

        def after(line: int, **members: Any) -> list[dict[str, Any]]:
            changed: list[dict[str, Any]] = json.loads(json.dumps(lines))
            changed[line]["receipt"] |= members
            return changed

        assert found(checked([*lines[:2], *lines[3:]], keys)) == [(3, "removed")]
        assert "number 3 is missing" in checked([*lines[:2], *lines[3:]], keys).findings[0].detail
        assert found(checked(lines[1:], keys)) == [(1, "removed")]
        assert found(checked(lines[1:], keys, first=2)) == []
        assert found(checked([lines[1], lines[0], *lines[2:]], keys))[0] == (1, "removed")
        assert found(checked([lines[1], lines[0], *lines[2:]], keys, is_ordered=False)) == []
        assert found(checked([lines[0], *lines], keys)) == []
        assert found(checked(after(2, client_reference="OTHER"), keys)) == [(3, "changed")]
        assert found(checked(after(2, received_at="2026-02-14T02:00:00Z"), keys)) == [
            (3, "dated_back"),
            (3, "changed"),
        ]
        assert found(checked(after(2, salt="00" * 16), keys)) == [(3, "content_differs")]
        assert found(checked(after(2, key_id="0" * 16), keys)) == [(3, "key_unknown")]
        assert found(checked([*lines, "no receipt"], keys)) == [(6, "unreadable")]
        lines[4]["sent"]["reason"] = "Another"
        assert found(checked(lines, keys)) == [(5, "content_differs")]

    async def test_on_the_command_line_ends_with_a_status(
        self, till: httpx.AsyncClient, keys: str, tmp_path: Path
    ) -> None:
        lines = await a_day(till)
        (tmp_path / "keys.json").write_text(keys, encoding="utf-8")
        whole, torn = tmp_path / "whole.jsonl", tmp_path / "torn.jsonl"
        whole.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        torn.write_text("".join(json.dumps(line) + "\n" for line in [lines[0], *lines[2:]]), encoding="utf-8")
        (tmp_path / "empty.jsonl").touch()

        def run(file: Path) -> tuple[int, str]:
            ended = CliRunner().invoke(cli, ["receipts", "verify", str(file), "--keys", str(tmp_path / "keys.json")])
            return ended.exit_code, ended.stdout

        assert run(whole) == (0, "")
        assert run(torn) == (1, "line 2, number 3, SYN-2: number 2 is missing before it (removed)\n")
        assert run(tmp_path / "empty.jsonl") == (1, "")
        ended = CliRunner().invoke(cli, ["receipts", "verify", str(whole), "--keys", str(whole)])
        assert ended.exit_code == 2
