"""A Python MCP server of both eras, with what the clients of the tests ask of one.

    python server.py mcp|fastmcp PORT
"""

import asyncio
import sys

if sys.argv[1] == "mcp":
    from mcp.server import MCPServer as Server
    from mcp.server.mcpserver import Context
else:
    from fastmcp import Context, FastMCP as Server

server = Server(f"hexagram-test-{sys.argv[1]}")


@server.tool()
def echo(message: str) -> str:
    """Answers with the message."""
    return f"Echo: {message}"


@server.tool()
def era(context: Context) -> str:
    """Answers with the version that the request is in."""
    return str(context.request_context.protocol_version)


@server.tool(name="trigger-long-running-operation")
async def long(duration: float, steps: int, context: Context) -> str:
    """Reports its progress in so many steps."""
    for step in range(steps):
        await asyncio.sleep(duration / steps)
        await context.report_progress(step + 1, steps)
    return "completed"


@server.resource("test://text")
def text() -> str:
    """A text."""
    return "a text"


@server.prompt()
def simple() -> str:
    """A prompt without arguments."""
    return "a prompt"


if __name__ == "__main__":
    port = int(sys.argv[2])
    if sys.argv[1] == "mcp":
        asyncio.run(server.run_streamable_http_async(port=port))
    else:
        asyncio.run(server.run_http_async(show_banner=False, port=port))
