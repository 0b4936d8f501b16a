"""The dashboard's server: fresh figures, a page for whatever goes wrong, and nothing for strangers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import gold_tables
import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from pipeline.dashboard import model, server
from pipeline.errors import FinlakeError
from pipeline.settings import Settings

Visit = Callable[[TestClient], Awaitable[None]]


@pytest.fixture
def visited(lake: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[[Visit], None]:
    """Lets a visitor use the server of a small bank, which looks at its lake whenever it is asked."""
    registered = gold_tables.catalogue(gold_tables.write(lake, gold_tables.rows()))
    monkeypatch.setattr(model, "registered_tables", registered)
    monkeypatch.setattr(server, "LOOK_SECONDS", 0)
    monkeypatch.setattr("pipeline.dashboard.page.charts_library", lambda: "")

    def visited_by(visit: Visit) -> None:
        async def visiting() -> None:
            app = server.application(lake, hosts=frozenset({"dashboard.test"}))
            async with TestClient(TestServer(app)) as client:
                await visit(client)

        asyncio.run(visiting())

    return visited_by


async def model_of(response: ClientResponse) -> dict[str, Any]:
    assert response.status == 200
    return json.loads(await response.text())


def test_the_model_is_sent_again_only_when_the_lake_has_changed(
    visited: Callable[[Visit], None], lake: Settings
):
    async def visit(client: TestClient) -> None:
        first = await client.get("/model.json")
        tag = {"If-None-Match": first.headers["ETag"]}
        assert len((await model_of(first))["runs"]) == 2
        assert (await client.get("/model.json", headers=tag)).status == 304
        gold_tables.write(lake, {"ops.runs": gold_tables.rows()["ops.runs"][:1]})
        assert len((await model_of(await client.get("/model.json", headers=tag)))["runs"]) == 1
        assert '"run":"r1"' in (page := await (await client.get("/")).text())
        assert '"run":"r2"' not in page

    visited(visit)


def test_when_the_lake_is_away_the_page_says_so_and_keeps_its_figures(
    visited: Callable[[Visit], None], monkeypatch: pytest.MonkeyPatch
):
    async def visit(client: TestClient) -> None:
        before = await model_of(await client.get("/model.json"))
        with monkeypatch.context() as patch:
            patch.setattr(server, "look", refuse)
            away = await model_of(await client.get("/model.json"))
            assert away["problem"] == "cannot reach the lake; start it"
            assert away["cubes"] == before["cubes"]
        after = await model_of(await client.get("/model.json"))
        assert after == before | {"generated_at": after["generated_at"]}

    visited(visit)


def test_a_server_without_a_lake_serves_an_empty_page(
    visited: Callable[[Visit], None], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(server, "look", refuse)

    async def visit(client: TestClient) -> None:
        assert (await client.get("/health")).status == 200
        assert "cannot reach the lake" in await (await client.get("/")).text()

    visited(visit)


def refuse(_settings: Settings) -> Any:
    raise FinlakeError("cannot reach the lake", "start it")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:4580", 200),
        ("127.0.0.1", 200),
        ("[::1]:4580", 200),
        ("dashboard.test", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("10.0.0.1", 421),
    ],
)
def test_only_this_machines_names_are_answered(visited: Callable[[Visit], None], host: str, status: int):
    async def visit(client: TestClient) -> None:
        response = await client.get("/health", headers={"Host": host})
        assert response.status == status
        assert status != 200 or response.headers["X-Frame-Options"] == "DENY"

    visited(visit)


def test_a_port_that_is_taken_is_named(lake: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(server, "look", refuse)
    monkeypatch.setattr("pipeline.dashboard.page.charts_library", lambda: "")

    async def twice() -> None:
        taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        async with taken:
            await server.serve(lake, "127.0.0.1", taken.sockets[0].getsockname()[1])

    with pytest.raises(FinlakeError, match="cannot be listened on") as caught:
        asyncio.run(twice())
    assert "--port" in str(caught.value.hint)
