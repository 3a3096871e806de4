// npm @modelcontextprotocol/sdk: the client of the legacy era, over Streamable HTTP.

import { load, main } from './common.mjs';

const { Client } = load('@modelcontextprotocol/sdk/client/index.js');
const { StreamableHTTPClientTransport } = load('@modelcontextprotocol/sdk/client/streamableHttp.js');

await main({
  name: 'legacy',
  async connect({ url, fetch, headers }) {
    const client = new Client({ name: 'hexagram-test-legacy', version: '1.0.0' });
    const transport = new StreamableHTTPClientTransport(url, { fetch, requestInit: { headers } });
    await client.connect(transport);
    const callTool = (name, args, options) =>
      client.callTool({ name, arguments: args }, undefined, options);
    return { client, transport, callTool };
  },
});
