"""What is answered about a moment that the server has forgotten: 410, and how to go on."""

from __future__ import annotations

from tests.contracts.api_server.servers import Place, ServerUnderTest


async def test_what_was_compacted_is_gone_for_pages_exact_lists_and_watches(
    place: Place, server: ServerUnderTest
) -> None:
    session, maps = place.session, place.maps
    for name in "abcd":
        await place.make_map(name)
    page = await session.get(maps, limit=2)
    await session.delete(f"{maps}/c")
    last = await place.make_map("e")
    server.forget(int(last.version))

    expired = await session.get(maps, **{"continue": page.metadata["continue"]})
    assert expired.failed() == (410, "Expired")
    assert expired.message.startswith("The provided continue parameter is too old to display a consistent list result.")
    inconsistent = await session.get(maps, **{"continue": expired.metadata["continue"]})
    assert inconsistent.names == ["d", "e"]
    assert int(inconsistent.version) > int(page.version)

    exact = await session.get(maps, resourceVersion=page.version, resourceVersionMatch="Exact")
    assert exact.failed() == (410, "Expired")
    assert exact.message == "The resourceVersion for the provided list is too old."

    async with session.watch(maps, resourceVersion=page.version) as stream:
        event = await stream.next()
    assert event
    assert event["type"] == "ERROR"
    status = event["object"]
    assert (status["kind"], status["code"], status["reason"]) == ("Status", 410, "Expired")
    assert status["message"].startswith(f"too old resource version: {page.version} (")
    async with session.watch(maps, resourceVersion=last.version, timeoutSeconds=1) as stream:
        assert await stream.rest() == []
