"""A transport over several edges, for the Python clients: some use httpx, some httpx2."""

import asyncio
import itertools
import time

# With --loop: an edge that restarts may refuse connections for this long, seconds.
REFUSED_LIMIT = 15.0
REFUSED_PAUSE = 0.05


def round_robin(http, args):
    """The transport, of the module `http`, for the edges that the command line names."""

    class RoundRobin(http.AsyncHTTPTransport):
        """Sends each request to the next edge, so that no request may rely on an earlier one's edge.

        Only a connection that was never made is tried again, for `patience` seconds: nothing was sent.
        """

        def __init__(self, urls, patience):
            super().__init__()
            self.counts = [0] * len(urls)
            self._targets = itertools.cycle(enumerate(http.URL(url) for url in urls))
            self._patience = patience

        async def handle_async_request(self, request):
            deadline = time.monotonic() + self._patience
            while True:
                index, target = next(self._targets)
                try:
                    response = await super().handle_async_request(redirected(http, request, target))
                except http.ConnectError:
                    if time.monotonic() > deadline:
                        raise
                    await asyncio.sleep(REFUSED_PAUSE)
                else:
                    self.counts[index] += 1
                    return response

    return RoundRobin(args.urls, REFUSED_LIMIT if args.loop > 0 else 0)


def redirected(http, request, target):
    """The same request to the origin of `target`."""
    headers = http.Headers(request.headers)
    headers["host"] = target.netloc.decode()
    url = request.url.copy_with(scheme=target.scheme, host=target.host, port=target.port)
    return http.Request(
        request.method, url, headers=headers, stream=request.stream, extensions=request.extensions
    )
