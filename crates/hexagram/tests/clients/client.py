"""PyPI `mcp` 2, in either era: `legacy` opens with initialize, `auto` probes with
server/discover and falls back.

Run with the interpreter that `cargo xtask tools` prepared.
"""

import sys

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from checks import CALL_TIMEOUT, drive, main


async def run(args, report, transport):
    # Standing streams may be silent for long: only a call has a limit.
    timeout = httpx2.Timeout(CALL_TIMEOUT, read=None)
    http = httpx2.AsyncClient(transport=transport, headers=args.header, timeout=timeout)
    async with http, Client(streamable_http_client(args.urls[0], http_client=http), mode=args.mode) as client:
        report["version"] = client.protocol_version
        await drive(client, args, report)


if __name__ == "__main__":
    sys.exit(main("python", ["legacy", "auto"], httpx2, run))
