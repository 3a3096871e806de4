"""The checks of common.mjs for the Python clients, their arguments and their one-line report.

A client has the methods of `mcp.Client` 2: see client.py, legacy.py and fast.py.
"""

import argparse
import asyncio
import json
import logging
import sys
import time
from collections import Counter

from edges import round_robin

# One call may take this long, seconds. The long-running tool needs 2 of them.
CALL_TIMEOUT = 15.0


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
    # Some servers answer with the message alone.
    text = result.content[0].text
    check(text in (message, f"Echo: {message}"), f"not the echo of {message}: {text}")


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


def describe(error):
    """The message with its causes; a task group hides them one level down."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(describe(inner) for inner in error.exceptions)
    return f"{type(error).__name__}: {error}"


def header(line):
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


def parse(modes):
    parser = argparse.ArgumentParser(description="The checks of checks.py against the edges at URL.")
    parser.add_argument("urls", metavar="URL[,URL...]", type=lambda text: text.split(","))
    parser.add_argument("mode", nargs="?", choices=modes, default=modes[0])
    parser.add_argument("--tools-only", action="store_true", help="list the tools and call echo, nothing else")
    parser.add_argument(
        "--loop", type=float, default=0, metavar="SECONDS",
        help="repeat echo until the time is over; counts failed calls and waits out refused connections",
    )
    parser.add_argument("--header", type=header, action="append", default=[], metavar="'NAME: VALUE'")
    return parser.parse_args()


def main(name, modes, http, run):
    """Runs `run(args, report, transport)` and prints its report; gives the exit code."""
    args = parse(modes)
    warnings = Warnings()
    logging.getLogger().addHandler(warnings)
    report = {"client": name, "mode": args.mode}
    transport = round_robin(http, args)
    try:
        asyncio.run(run(args, report, transport))
        check(not report.get("failed"), f"calls failed: {report.get('failures')}")
        check(not warnings.seen or args.loop > 0, f"the client warned: {warnings.seen}")
        code = 0
    except (Exception, BaseExceptionGroup) as error:
        print(f"{name}: {describe(error)}", file=sys.stderr)
        code = 1
    report |= {"warnings": warnings.seen, "requests": transport.counts}
    print(json.dumps(report))
    return code
