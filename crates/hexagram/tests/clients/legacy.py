"""PyPI `mcp` 1: the Python client of the legacy era.

Run with the interpreter that `cargo xtask tools` prepared for it.
"""

import sys
from datetime import timedelta

import httpx
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from checks import CALL_TIMEOUT, drive, main


class Client:
    """The session under the names that checks.py uses."""

    def __init__(self, session):
        self._session = session
        self.read_resource = session.read_resource
        self.get_prompt = session.get_prompt

    async def list_tools(self, cursor):
        return Page(await self._session.list_tools(cursor))

    async def list_resources(self, cursor):
        return Page(await self._session.list_resources(cursor))

    async def list_prompts(self, cursor):
        return Page(await self._session.list_prompts(cursor))

    async def call_tool(self, name, arguments, timeout, progress_callback=None):
        return await self._session.call_tool(name, arguments, timedelta(seconds=timeout), progress_callback)


class Page:
    """A list's page, with its cursor under the later name."""

    def __init__(self, page):
        self._page = page
        self.next_cursor = page.nextCursor

    def __getattr__(self, name):
        return getattr(self._page, name)


async def run(args, report, transport):
    timeout = httpx.Timeout(CALL_TIMEOUT, read=None)
    http = httpx.AsyncClient(transport=transport, headers=args.header, timeout=timeout)
    async with http, streamable_http_client(args.urls[0], http_client=http) as (read, write, _):
        async with ClientSession(read, write) as session:
            report["version"] = (await session.initialize()).protocolVersion
            await drive(Client(session), args, report)


if __name__ == "__main__":
    sys.exit(main("python1", ["legacy"], httpx, run))
