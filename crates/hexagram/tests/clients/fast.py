"""PyPI `fastmcp`, in either era.

Run with the interpreter that `cargo xtask tools` prepared for it.
"""

import sys

import fastmcp
import httpx2
from fastmcp.client.transports import StreamableHttpTransport

from checks import CALL_TIMEOUT, drive, main


class Client:
    """The client under the names that checks.py uses."""

    def __init__(self, client):
        self._client = client
        self.list_tools = client.list_tools_mcp
        self.list_resources = client.list_resources_mcp
        self.list_prompts = client.list_prompts_mcp
        self.read_resource = client.read_resource_mcp
        self.get_prompt = client.get_prompt

    async def call_tool(self, name, arguments, timeout, progress_callback=None):
        return await self._client.call_tool(name, arguments, timeout=timeout, progress_handler=progress_callback)


async def run(args, report, transport):
    def http(**options):
        options["timeout"] = httpx2.Timeout(CALL_TIMEOUT, read=None)
        return httpx2.AsyncClient(transport=transport, **options)

    target = StreamableHttpTransport(args.urls[0], headers=dict(args.header), httpx_client_factory=http)
    async with fastmcp.Client(target, mode=args.mode) as client:
        report["version"] = client.protocol_version
        await drive(Client(client), args, report)


if __name__ == "__main__":
    sys.exit(main("fastmcp", ["legacy", "auto"], httpx2, run))
