"""Who may enter, what is done later, and what the OpenAPI document says of it."""

import json

import pytest
import schemathesis
from fastapi.routing import APIRoute

from app import openapi
from app.auth.rules import MAY, Permission, Role
from app.core.sealing import Keyring
from app.serving import blueprint
from app.webhooks.addresses import AddressPolicy
from app.webhooks.sender import Sender
from app.worker import CONNECTIONS, handlers
from tests.architecture.doors import PUBLIC, permission_of, routes
from tests.architecture.tree import ROOT

ROUTES = list(routes())
DOCUMENT = openapi.document(blueprint())


def name_of(route: APIRoute) -> str:
    return f"{min(route.methods or {'?'})} {route.path}"


class TestARoute:
    @pytest.mark.parametrize("route", ROUTES, ids=name_of)
    def test_has_a_guard_or_stands_on_the_public_list(self, route: APIRoute) -> None:
        public = {(method, route.path) for method in route.methods or ()} & PUBLIC.keys()
        assert (permission_of(route) is None) == bool(public)

    @pytest.mark.parametrize("route", ROUTES, ids=name_of)
    def test_is_named_by_its_verb_and_says_what_it_does(self, route: APIRoute) -> None:
        operation = DOCUMENT["paths"][route.path_format][min(route.methods or {"?"}).lower()]
        assert operation["operationId"] == route.endpoint.__name__ == route.name
        assert operation["description"]

    def test_is_served_only_if_it_stands_here(self) -> None:
        served = {
            (method, path)
            for path, methods in DOCUMENT["paths"].items()
            for method in (method.upper() for method in methods)
        }
        assert served == {(method, route.path_format) for route in ROUTES for method in route.methods or ()}

    def test_of_the_framework_is_public_on_purpose(self) -> None:
        plain = {getattr(route, "path", None) for route in blueprint().routes if type(route).__name__ == "Route"}
        assert plain == {path for _, path in PUBLIC} - {"/healthz", "/readyz", "/metrics", "/v1/receipts/keys"}


class TestThePermissions:
    def test_are_all_given_to_somebody_and_none_to_the_service(self) -> None:
        assert set(MAY) == set(Permission)
        assert all(roles and Role.SYSTEM not in roles for roles in MAY.values())

    def test_are_all_asked_for(self) -> None:
        asked = {permission_of(route) for route in ROUTES} - {None}
        # Asked for by a verb: who subscribes to identities needs both.
        assert set(Permission) - asked == {Permission.SUBSCRIBE_IDENTIFIED}


class TestOperations:
    def test_have_unique_names(self) -> None:
        names = [operation["operationId"] for methods in DOCUMENT["paths"].values() for operation in methods.values()]
        assert len(names) == len(set(names))

    def test_explain_each_parameter(self) -> None:
        unexplained = {
            given["name"]
            for methods in DOCUMENT["paths"].values()
            for operation in methods.values()
            for given in operation.get("parameters", ())
            if not given.get("description")
        }
        assert not unexplained

    def test_use_every_explanation(self) -> None:
        given = {
            given["name"]
            for methods in DOCUMENT["paths"].values()
            for operation in methods.values()
            for given in operation.get("parameters", ())
        }
        assert set(openapi.PARAMETERS) <= given

    def test_belong_to_groups_that_are_explained(self) -> None:
        used = {
            tag for methods in DOCUMENT["paths"].values() for operation in methods.values() for tag in operation["tags"]
        }
        assert used == set(openapi.TAGS)


class TestTheOpenApiDocument:
    def test_is_valid(self) -> None:
        assert DOCUMENT["openapi"].startswith("3.1.")
        schemathesis.openapi.from_dict(DOCUMENT).validate()

    def test_says_of_each_refusal_in_which_language_it_may_come(self) -> None:
        refusals = [
            DOCUMENT["components"]["responses"][answer["$ref"].rpartition("/")[2]] if "$ref" in answer else answer
            for methods in DOCUMENT["paths"].values()
            for operation in methods.values()
            for status, answer in operation["responses"].items()
            if int(status) >= 400
        ]
        assert refusals
        assert all({"Content-Language", "Vary"} <= set(refusal["headers"]) for refusal in refusals)

    def test_keeps_all_definitions_in_one_place(self) -> None:
        assert '"$defs"' not in json.dumps(DOCUMENT)

    def test_is_the_committed_one(self) -> None:
        committed = (ROOT / "docs" / "openapi.json").read_text(encoding="utf-8")
        assert committed == openapi.as_text(DOCUMENT), "run ./run openapi and look at what changed"


class TestEveryKindOfJob:
    async def test_has_a_handler_and_every_schedule_a_kind_with_one(self) -> None:
        registry = handlers(Keyring.generate(1), Sender(AddressPolicy(())))
        assert registry.unhandled() == []
        handled = {*registry.transactional_work, *registry.external_work}
        assert {entry.kind.name for entry in registry.schedule} <= handled

    async def test_finds_a_connection_whatever_the_others_do(self) -> None:
        registry = handlers(Keyring.generate(1), Sender(AddressPolicy(())))
        loops = sum(work.concurrency for work in registry.transactional_work.values()) + len(registry.external_work)
        assert loops + 3 <= CONNECTIONS  # the look-out, the heartbeat and the listener
