// What the two npm clients share: arguments, one fetch over several edges, the
// checks themselves and the one-line report. The SDKs differ only in how a
// client is built and in the arguments of `callTool`: see legacy.mjs, modern.mjs.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

// One call may take this long. The long-running tool needs 2 s of it.
const CALL_TIMEOUT_MS = 15_000;
// With --loop: an edge that restarts may refuse connections for this long.
const REFUSED_LIMIT_MS = 15_000;
const REFUSED_PAUSE_MS = 50;
// A countdown may take so much longer than its steps: its stream is opened again meanwhile.
const COUNTDOWN_SLACK_MS = 60_000;

const HELP = `options:
  --tools-only         list the tools and call echo, nothing else
  --loop SECONDS       repeat echo until the time is over; counts failed calls and
                       waits out refused connections
  --countdown STEPS    count down instead, with --loop until the time is over: every step
                       must be told once and in order, and no call may fail
  --step-ms MS         how long a step takes (100)
  --header 'N: value'  sent with every request; may be repeated`;

/** Loads an npm package from the folder that `cargo xtask tools` filled. */
export function load(specifier) {
  const { HEXAGRAM_NODE_PACKAGES, HEXAGRAM_CACHE, XDG_CACHE_HOME } = process.env;
  const cache = HEXAGRAM_CACHE ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'hexagram');
  const packages = HEXAGRAM_NODE_PACKAGES ?? join(cache, 'node');
  try {
    return createRequire(join(packages, 'package.json'))(specifier);
  } catch (cause) {
    throw new Error(`cannot load ${specifier} from ${packages}: run \`cargo xtask tools\``, { cause });
  }
}

/**
 * Runs the checks against one client and ends the process: 0 when all held.
 * `connect({ url, fetch, headers, mode })` gives `{ client, transport, callTool }`.
 */
export async function main({ name, modes, connect }) {
  const args = parse(name, modes);
  const fetch = roundRobin(args.urls, args.loop > 0 ? REFUSED_LIMIT_MS : 0);
  const report = { client: name, mode: args.mode };
  try {
    const session = await connect({ ...args, url: args.urls[0], fetch });
    report.version = session.transport.protocolVersion;
    await drive(session, args, report);
    await session.transport.terminateSession();
    await session.client.close();
    assert.equal(report.failed ?? 0, 0, `calls failed: ${JSON.stringify(report.failures)}`);
  } catch (error) {
    console.error(`${name}: ${describe(error)}`);
    process.exitCode = 1;
  }
  report.requests = fetch.counts;
  report.resumed = fetch.seen.resumed;
  console.log(JSON.stringify(report));
  // Keep-alive connections and standing streams would hold the process.
  process.exit();
}

async function drive(session, args, report) {
  const tools = await listAll((page) => session.client.listTools(page), 'tools');
  report.tools = tools.length;
  const echo = toolNamed(tools, 'echo');
  await callEcho(session, echo, 'hello');
  report.echo = 1;
  if (args.countdown > 0) {
    await loopCountdown(session, toolNamed(tools, 'countdown'), args, report);
  } else if (args.loop > 0) {
    await loopEcho(session, echo, args.loop, report);
  } else if (!args.toolsOnly) {
    await callLong(session, toolNamed(tools, 'trigger-long-running-operation'), report);
    await readFirstResource(session, report);
    await getFirstPrompt(session, report);
  }
}

async function callEcho(session, tool, message) {
  const result = await session.callTool(tool, { message }, { timeout: CALL_TIMEOUT_MS });
  // Some servers answer with the message alone.
  const { text } = result.content[0];
  assert.ok(text === message || text === `Echo: ${message}`, text);
}

async function callLong(session, tool, report) {
  const seen = [];
  const onprogress = ({ progress }) => seen.push({ progress, at: performance.now() });
  const options = { timeout: CALL_TIMEOUT_MS, onprogress };
  const result = await session.callTool(tool, { duration: 2, steps: 4 }, options);
  // Taken at the result: what arrives later does not count.
  report.progress = seen.length;
  assert.match(result.content[0].text, /completed/);
  assert.ok(seen.length >= 1, 'no progress notification arrived before the result');
  const values = seen.map(({ progress }) => progress);
  assert.deepEqual(values, [...values].sort((a, b) => a - b), 'progress went backwards');
  report.progressLeadMs = Math.round(performance.now() - seen[0].at);
}

async function readFirstResource(session, report) {
  const resources = await listAll((page) => session.client.listResources(page), 'resources');
  report.resources = resources.length;
  const { contents } = await session.client.readResource({ uri: first(resources, 'resource').uri });
  assert.ok(contents.length > 0, 'the resource is empty');
}

async function getFirstPrompt(session, report) {
  const prompts = await listAll((page) => session.client.listPrompts(page), 'prompts');
  report.prompts = prompts.length;
  const simple = prompts.filter((p) => !(p.arguments ?? []).some((a) => a.required));
  const { messages } = await session.client.getPrompt({ name: first(simple, 'simple prompt').name });
  assert.ok(messages.length > 0, 'the prompt has no message');
}

async function loopEcho(session, tool, seconds, report) {
  Object.assign(report, { ok: 0, failed: 0, failures: {} });
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end) {
    try {
      await callEcho(session, tool, `call ${report.ok + report.failed}`);
      report.ok += 1;
    } catch (error) {
      report.failed += 1;
      const cause = describe(error);
      report.failures[cause] = (report.failures[cause] ?? 0) + 1;
    }
  }
  assert.ok(report.ok > 0, 'not one call succeeded');
}

async function loopCountdown(session, tool, { countdown: steps, stepMs, loop }, report) {
  const timeout = steps * stepMs + COUNTDOWN_SLACK_MS;
  const every = Array.from({ length: steps }, (_, before) => before + 1);
  const end = performance.now() + loop * 1000;
  report.countdowns = 0;
  do {
    const told = [];
    const onprogress = ({ progress }) => told.push(progress);
    const result = await session.callTool(tool, { steps, step_ms: stepMs }, { timeout, onprogress });
    assert.equal(result.content[0].text, `counted ${steps} steps`);
    assert.deepEqual(told, every, 'steps are missing, told twice or out of order');
    report.countdowns += 1;
  } while (performance.now() < end);
}

/** All pages of a list. */
async function listAll(page, key) {
  const items = [];
  let cursor;
  do {
    const result = await page(cursor === undefined ? undefined : { cursor });
    items.push(...result[key]);
    cursor = result.nextCursor;
  } while (cursor !== undefined);
  return items;
}

/** A tool's full name: behind several upstreams it is `<upstream>__<tool>`. */
function toolNamed(tools, name) {
  const found = tools.find((t) => t.name === name || t.name.endsWith(`__${name}`));
  assert.ok(found, `no tool ${name} among: ${tools.map((t) => t.name).join(', ')}`);
  return found.name;
}

function first(items, what) {
  assert.ok(items.length > 0, `the server offers no ${what}`);
  return items[0];
}

/**
 * A fetch that sends each request to the next edge, so that no request may rely
 * on an earlier one's edge. Only a refused connection is tried again, for
 * `patienceMs`: it proves that nothing was sent.
 */
function roundRobin(urls, patienceMs) {
  let next = 0;
  const counts = urls.map(() => 0);
  const seen = { resumed: 0 };
  const fetchNext = async (input, init) => {
    const deadline = performance.now() + patienceMs;
    for (;;) {
      const index = next++ % urls.length;
      const target = new URL(input);
      target.host = urls[index].host;
      try {
        const response = await fetch(target, init);
        counts[index] += 1;
        if (new Headers(init?.headers).has('last-event-id')) seen.resumed += 1;
        return response;
      } catch (error) {
        if (!refused(error) || performance.now() > deadline) throw error;
        await sleep(REFUSED_PAUSE_MS);
      }
    }
  };
  return Object.assign(fetchNext, { counts, seen });
}

const refused = (error) => error?.cause?.code === 'ECONNREFUSED';

/** The message with its causes: fetch hides the reason one level down. */
function describe(error) {
  const cause = error?.cause ? `: ${describe(error.cause)}` : '';
  return `${error?.message ?? error}${cause}`;
}

function parse(name, modes) {
  const usage = `usage: node ${name}.mjs URL[,URL...]${modes ? ` ${modes.join('|')}` : ''} [options]\n${HELP}`;
  try {
    const { values, positionals } = parseArgs({ allowPositionals: true, options: OPTIONS });
    const [urls, mode = modes?.[0]] = positionals;
    assert.ok(urls && (!modes || modes.includes(mode)), 'URL or mode missing or unknown');
    return {
      urls: urls.split(',').map((url) => new URL(url)),
      mode,
      headers: Object.fromEntries(values.header.map(splitHeader)),
      toolsOnly: values['tools-only'],
      loop: Number(values.loop),
      countdown: Number(values.countdown),
      stepMs: Number(values['step-ms']),
    };
  } catch (error) {
    console.error(`${error.message}\n${usage}`);
    return process.exit(64);
  }
}

const OPTIONS = {
  'tools-only': { type: 'boolean', default: false },
  loop: { type: 'string', default: '0' },
  countdown: { type: 'string', default: '0' },
  'step-ms': { type: 'string', default: '100' },
  header: { type: 'string', multiple: true, default: [] },
};

function splitHeader(line) {
  const [name, ...value] = line.split(':');
  return [name.trim(), value.join(':').trim()];
}
