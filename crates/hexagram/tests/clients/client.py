"""PyPI `mcp`: the checks of common.mjs from Python's own client, in either era.

`legacy` opens with initialize, `auto` probes with server/discover and falls back.
Run with the interpreter that `cargo xtask tools` prepared.
"""

import argparse
import asyncio
import itertools
import json
import logging
import sys
import time
from collections import Counter

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

# One call may take this long, seconds. The long-running tool needs 2 of them.
CALL_TIMEOUT = 15.0
# With --loop: an edge that restarts may refuse connections for this long.
REFUSED_LIMIT = 15.0
REFUSED_PAUSE = 0.05


class RoundRobin(httpx2.AsyncHTTPTransport):
    """Sends each request to the next edge, so that no request may rely on an earlier one's edge.

    Only a connection that was never made is tried again, for `patience` seconds: nothing was sent.
    """

    def __init__(self, urls, patience):
        super().__init__()
        self.counts = [0] * len(urls)
        self._targets = itertools.cycle(enumerate(httpx2.URL(url) for url in urls))
        self._patience = patience

    async def handle_async_request(self, request):
        deadline = time.monotonic() + self._patience
        while True:
            index, target = next(self._targets)
            try:
                response = await super().handle_async_request(redirected(request, target))
            except httpx2.ConnectError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(REFUSED_PAUSE)
            else:
                self.counts[index] += 1
                return response


def redirected(request, target):
    """The same request to the origin of `target`."""
    headers = httpx2.Headers(request.headers)
    headers["host"] = target.netloc.decode()
    url = request.url.copy_with(scheme=target.scheme, host=target.host, port=target.port)
    return httpx2.Request(
        request.method, url, headers=headers, stream=request.stream, extensions=request.extensions
    )


class Warnings(logging.Handler):
    """Collects what the client only logs, for example a session that could not be ended."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.seen = []

    def emit(self, record):
        self.seen.append(record.getMessage())


async def drive(client, args, report):
    tools = await list_all(client.list_tools, "tools")
    report["tools"] = len(tools)
    echo = tool_named(tools, "echo")
    await call_echo(client, echo, "hello")
    report["echo"] = 1
    if args.loop > 0:
        await loop_echo(client, echo, args.loop, report)
    elif not args.tools_only:
        await call_long(client, tool_named(tools, "trigger-long-running-operation"), report)
        await read_first_resource(client, report)
        await get_first_prompt(client, report)


async def call_echo(client, tool, message):
    result = await client.call_tool(tool, {"message": message}, CALL_TIMEOUT)
    check_equal(result.content[0].text, f"Echo: {message}")


async def call_long(client, tool, report):
    seen = []

    async def on_progress(progress, total, message):
        seen.append((progress, time.monotonic()))

    arguments = {"duration": 2, "steps": 4}
    result = await client.call_tool(tool, arguments, CALL_TIMEOUT, progress_callback=on_progress)
    # Taken at the result: what arrives later does not count.
    report["progress"] = len(seen)
    check("completed" in result.content[0].text, f"unexpected result: {result.content[0].text}")
    check(seen, "no progress notification arrived before the result")
    values = [progress for progress, _ in seen]
    check(values == sorted(values), f"progress went backwards: {values}")
    report["progressLeadMs"] = round((time.monotonic() - seen[0][1]) * 1000)


async def read_first_resource(client, report):
    resources = await list_all(client.list_resources, "resources")
    report["resources"] = len(resources)
    check(resources, "the server offers no resource")
    result = await client.read_resource(resources[0].uri)
    check(result.contents, "the resource is empty")


async def get_first_prompt(client, report):
    prompts = await list_all(client.list_prompts, "prompts")
    report["prompts"] = len(prompts)
    simple = [p for p in prompts if not any(a.required for a in p.arguments or [])]
    check(simple, "the server offers no prompt without required arguments")
    result = await client.get_prompt(simple[0].name)
    check(result.messages, "the prompt has no message")


async def loop_echo(client, tool, seconds, report):
    ok, failures = 0, Counter()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            await call_echo(client, tool, f"call {ok + failures.total()}")
            ok += 1
        except Exception as error:  # whatever a call fails with is the finding
            failures[describe(error)] += 1
    report |= {"ok": ok, "failed": failures.total(), "failures": dict(failures)}
    check(ok > 0, "not one call succeeded")


async def list_all(page, key):
    """All pages of a list."""
    items, cursor = [], None
    while True:
        result = await page(cursor=cursor)
        items += getattr(result, key)
        cursor = result.next_cursor
        if cursor is None:
            return items


def tool_named(tools, name):
    """A tool's full name: behind several upstreams it is `<upstream>__<tool>`."""
    names = [tool.name for tool in tools]
    found = [n for n in names if n == name or n.endswith(f"__{name}")]
    check(found, f"no tool {name} among: {', '.join(names)}")
    return found[0]


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def check_equal(actual, expected):
    check(actual == expected, f"expected {expected!r}, got {actual!r}")


def describe(error):
    """The message with its causes; a task group hides them one level down."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(describe(inner) for inner in error.exceptions)
    return f"{type(error).__name__}: {error}"


def header(line):
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("urls", metavar="URL[,URL...]", type=lambda text: text.split(","))
    parser.add_argument("mode", nargs="?", choices=["legacy", "auto"], default="legacy")
    parser.add_argument("--tools-only", action="store_true", help="list the tools and call echo, nothing else")
    parser.add_argument(
        "--loop", type=float, default=0, metavar="SECONDS",
        help="repeat echo until the time is over; counts failed calls and waits out refused connections",
    )
    parser.add_argument("--header", type=header, action="append", default=[], metavar="'NAME: VALUE'")
    return parser.parse_args()


async def run(args, report, transport):
    # Standing streams may be silent for long: only a call has a limit.
    timeout = httpx2.Timeout(CALL_TIMEOUT, read=None)
    http = httpx2.AsyncClient(transport=transport, headers=args.header, timeout=timeout)
    async with http, Client(streamable_http_client(args.urls[0], http_client=http), mode=args.mode) as client:
        report["version"] = client.protocol_version
        await drive(client, args, report)


def main():
    args = parse()
    warnings = Warnings()
    logging.getLogger().addHandler(warnings)
    report = {"client": "python", "mode": args.mode}
    transport = RoundRobin(args.urls, REFUSED_LIMIT if args.loop > 0 else 0)
    try:
        asyncio.run(run(args, report, transport))
        check(not report.get("failed"), f"calls failed: {report.get('failures')}")
        check(not warnings.seen or args.loop > 0, f"the client warned: {warnings.seen}")
        code = 0
    except (Exception, BaseExceptionGroup) as error:
        print(f"client.py: {describe(error)}", file=sys.stderr)
        code = 1
    report |= {"warnings": warnings.seen, "requests": transport.counts}
    print(json.dumps(report))
    return code


if __name__ == "__main__":
    sys.exit(main())
