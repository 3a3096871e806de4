// npm @modelcontextprotocol/client: speaks both eras. `legacy` opens with
// initialize, `auto` probes with server/discover and falls back.

import { load, main } from './common.mjs';

const { Client, StreamableHTTPClientTransport } = load('@modelcontextprotocol/client');

await main({
  name: 'modern',
  modes: ['legacy', 'auto'],
  async connect({ url, fetch, headers, mode }) {
    const info = { name: 'hexagram-test-modern', version: '1.0.0' };
    const client = new Client(info, { versionNegotiation: { mode } });
    const transport = new StreamableHTTPClientTransport(url, { fetch, requestInit: { headers } });
    await client.connect(transport);
    const callTool = (name, args, options) => client.callTool({ name, arguments: args }, options);
    return { client, transport, callTool };
  },
});
