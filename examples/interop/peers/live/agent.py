"""A live agent around a DIDComm library of others, for the interop suite.

It takes messages by POST and by WebSocket at one URL on loopback, answers trust
pings as their return_route says, and sends pings of its own. The library makes
and opens the envelopes, makes the DIDs and resolves them; what is here is what an
application adds: sockets and the protocol.

The suite steers it by JSON lines: one request a line on standard input, one
answer a line on standard output; all else goes to standard error. It ends with
its input.
"""

import asyncio
import json
import os
import sys
import uuid
from abc import ABC, abstractmethod

# The answers keep the real standard output; whatever prints goes to stderr.
ANSWERS = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)

from aiohttp import ClientSession, ClientTimeout, WSMsgType, web

PING = "https://didcomm.org/trust-ping/2.0/ping"
RESPONSE = "https://didcomm.org/trust-ping/2.0/ping-response"
MEDIA_TYPE = "application/didcomm-encrypted+json"
PATIENCE = 20  # seconds that an answer may take


class Library(ABC):
    """What a DIDComm library does for the agent. Envelopes are text."""

    @abstractmethod
    def versions(self):
        """The packages that matter, with their versions."""

    @abstractmethod
    def create(self, endpoint, params):
        """A new DID with that endpoint, whose keys are kept."""

    @abstractmethod
    async def pack(self, message, to, frm):
        """An authcrypt envelope from one DID to another."""

    @abstractmethod
    async def unpack(self, envelope):
        """The message in an envelope, and what is known of the envelope."""

    @abstractmethod
    async def endpoint(self, did):
        """Where a DID takes messages."""


class Agent:
    def __init__(self, library):
        self.library = library
        self.received = []
        self.waiting = {}  # futures of answers, by thid

    # The operations.

    async def hello(self, params):
        return {
            "name": "live agent",
            "language": "Python " + ".".join(map(str, sys.version_info[:3])),
            "versions": self.library.versions(),
        }

    async def create(self, params):
        """A DID whose endpoint is this agent's, of the scheme asked for."""
        endpoint = f"{params['scheme']}://{self.address}/didcomm"
        return {"did": self.library.create(endpoint, params)}

    async def ping(self, params):
        """Pings a DID and returns the response with the way that it came."""
        message = {
            "id": str(uuid.uuid4()),
            "typ": "application/didcomm-plain+json",
            "type": PING,
            "from": params["from"],
            "to": [params["to"]],
            "body": {"response_requested": True},
        }
        in_band = params.get("return_route") == "all"
        if in_band:
            message["return_route"] = "all"
        envelope = await self.library.pack(message, params["to"], params["from"])
        answer = self.waiting[message["id"]] = asyncio.get_running_loop().create_future()
        try:
            body = await self.send(await self.library.endpoint(params["to"]), envelope, in_band)
            if body:
                await self.take(body, "in band")
            return {"ping": message, **await asyncio.wait_for(answer, PATIENCE)}
        finally:
            del self.waiting[message["id"]]

    async def take_received(self, params):
        """The messages opened since the last call, answers apart."""
        received, self.received = self.received, []
        return {"received": received}

    # The protocol.

    async def take(self, envelope, over):
        """Opens an envelope; returns the envelope that is to go back the same way,
        if any."""
        message, metadata = await self.library.unpack(envelope)
        print(f"{over}: {message}", file=sys.stderr, flush=True)
        opened = {"message": message, "metadata": metadata, "over": over}
        waiting = self.waiting.get(message.get("thid"))
        if waiting is not None and not waiting.done():
            waiting.set_result(opened)
            return None
        self.received.append(opened)
        if message["type"] != PING or not message["body"].get("response_requested", True):
            return None
        if not metadata["authenticated"]:
            return None
        response = {
            "id": str(uuid.uuid4()),
            "typ": "application/didcomm-plain+json",
            "type": RESPONSE,
            "thid": message["id"],
            "from": message["to"][0],
            "to": [message["from"]],
            "body": {},
        }
        answer = await self.library.pack(response, message["from"], message["to"][0])
        if message.get("return_route") == "all":
            return answer
        await self.send(await self.library.endpoint(message["from"]), answer, False)
        return None

    # The sockets.

    async def send(self, endpoint, envelope, in_band):
        """Sends an envelope and returns what comes back on the connection."""
        if endpoint.startswith("ws"):
            async with self.client.ws_connect(endpoint) as socket:
                await socket.send_str(envelope)
                return await socket.receive_str(timeout=PATIENCE) if in_band else None
        headers = {"Content-Type": MEDIA_TYPE}
        async with self.client.post(endpoint, data=envelope, headers=headers) as response:
            response.raise_for_status()
            body = await response.text()
            if body and response.content_type != MEDIA_TYPE:
                raise ValueError("answered with " + response.content_type)
            return body

    async def serve(self, request):
        if request.method == "POST":
            return await self.post(request)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for frame in socket:
            if frame.type != WSMsgType.TEXT:
                raise ValueError(f"a frame of type {frame.type}")
            answer = await self.take(frame.data, "websocket")
            if answer:
                await socket.send_str(answer)
        return socket

    async def post(self, request):
        if request.headers.get("Content-Type") != MEDIA_TYPE:
            raise web.HTTPUnsupportedMediaType()
        answer = await self.take(await request.text(), "http")
        if answer is None:
            return web.Response(status=202)
        return web.Response(text=answer, content_type=MEDIA_TYPE)

    async def answer(self, line):
        request = json.loads(line)
        operations = {
            "hello": self.hello,
            "create": self.create,
            "ping": self.ping,
            "received": self.take_received,
        }
        try:
            result = await operations[request["op"]](request.get("params") or {})
            return {"id": request["id"], "result": result}
        except Exception as error:
            print(f"{request['op']}: {error!r}", file=sys.stderr, flush=True)
            return {
                "id": request["id"],
                "error": {"type": type(error).__name__, "message": str(error)},
            }

    async def main(self):
        app = web.Application()
        app.router.add_route("*", "/didcomm", self.serve)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.address = "%s:%d" % runner.addresses[0][:2]
        self.client = ClientSession(timeout=ClientTimeout(total=PATIENCE))
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await self.answer(line)), file=ANSWERS, flush=True)
        await self.client.close()
        await runner.cleanup()


def run(library):
    asyncio.run(Agent(library).main())
