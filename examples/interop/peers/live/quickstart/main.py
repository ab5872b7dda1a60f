"""A live agent behind a mediator, put together from the quickstart of
didcomm-messaging. The quickstart enrolls, polls, and has the loop for raw pushes.
Wrapped pushes have a handler here, since that loop drops what is from the mediator.
Acks for raw pushes are from here too, since that loop has none. What was not
acknowledged comes again, so it counts as received only then.

The suite steers the agent by JSON lines: one request a line on standard input, one
answer a line on standard output; all else goes to standard error. It ends with its
input.
"""

import asyncio
import base64
import hashlib
import json
import os
import sys
import uuid
from importlib.metadata import version

# The answers keep the real standard output; whatever prints goes to stderr.
ANSWERS = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)

import aiohttp
import websockets
from aries_askar import Key
from didcomm_messaging import quickstart

PICKUP = "https://didcomm.org/messagepickup/3.0/"
PAUSE = 0.2  # seconds between two polls, and before a new socket


def message(type, frm, to, **members):
    return {
        "id": str(uuid.uuid4()),
        "typ": "application/didcomm-plain+json",
        "type": type,
        "from": frm,
        "to": [to],
        **members,
    }


class Agent:
    def __init__(self):
        self.received = []
        self.arrived = asyncio.Event()

    async def hello(self, params):
        names = ("didcomm-messaging", "did-peer-2", "aries-askar", "websockets")
        return {
            "name": "quickstart",
            "language": "Python " + ".".join(map(str, sys.version_info[:3])),
            "versions": {name: version(name) for name in names},
        }

    async def start(self, params):
        """Enrolls with a mediator, and begins to pick up: by polling, or live with
        wrapped or raw pushes. The DID and its keys are in the state file."""
        self.mediator = params["mediator"]
        did, keys = load(params["state"])
        self.account = did
        self.dmp = await quickstart.setup_default(did, keys)
        self.own = await quickstart.setup_relay(self.dmp, did, self.mediator, *keys)
        if self.own is None:
            raise Exception("no mediation was granted")
        pick_up = {"": self.poll, "wrapped": self.wrapped, "raw": self.raw}[params["live"]]
        self.task = asyncio.create_task(self.again(pick_up))
        return {"did": self.own}

    async def again(self, pick_up):
        while True:
            try:
                await pick_up()
            except Exception as error:
                print(f"pick up: {error!r}", file=sys.stderr, flush=True)
            await asyncio.sleep(PAUSE)

    async def poll(self):
        taken = []
        await quickstart.fetch_relayed_messages(
            self.dmp, self.account, self.mediator, self.into(taken)
        )
        self.receive(taken)

    def request(self, type, **members):
        return message(PICKUP + type, self.account, self.mediator, **members)

    async def live_request(self, **body):
        request = self.request(
            "live-delivery-change", body={"live_delivery": True, **body}
        )
        packed = await self.dmp.pack(request, self.mediator, self.account)
        return request["id"], packed.message, websockets.connect(packed.get_endpoint("ws"))

    async def raw(self):
        """The id of a message that is pushed raw is the hash of its frame."""
        _, request, socket = await self.live_request(raw=True)
        agent, frame_id = self, None

        class Hashing:
            async def unpack(self, frame):
                nonlocal frame_id
                data = frame.encode() if isinstance(frame, str) else frame
                digest = hashlib.sha256(data).digest()
                frame_id = base64.urlsafe_b64encode(digest).decode().rstrip("=")
                return await agent.dmp.unpack(frame)

        async def take(msg):
            taken = []
            await self.into(taken)(msg)
            ack = self.request("messages-received", body={"message_id_list": [frame_id]})
            await quickstart.send_http_message(
                self.dmp, self.account, ack, target=self.mediator
            )
            self.receive(taken)

        await quickstart.handle_websocket(
            Hashing(), self.mediator, socket, request, take
        )

    async def wrapped(self):
        id, request, connect = await self.live_request()
        unacknowledged = {}
        async with connect as socket:

            async def send(request):
                packed = await self.dmp.pack(request, self.mediator, self.account)
                await socket.send(packed.message)

            await socket.send(request)
            async for frame in socket:
                msg = (await self.dmp.unpack(frame)).message
                if msg["type"] == PICKUP + "status":
                    self.receive(unacknowledged.pop(msg.get("thid"), []))
                    count = msg["body"]["message_count"]
                    if count and msg.get("thid") == id:
                        await send(self.request("delivery-request", body={"limit": count}))
                elif msg["type"] == PICKUP + "delivery":
                    ids = [attachment["id"] for attachment in msg["attachments"]]
                    ack = self.request("messages-received", body={"message_id_list": ids})
                    unacknowledged[ack["id"]] = await self.open(msg["attachments"])
                    await send(ack)

    async def open(self, attachments):
        """What opens of a delivery; nobody needs the rest again."""
        taken = []
        for attachment in attachments:
            try:
                opened = await self.dmp.unpack(json.dumps(attachment["data"]["json"]))
                await self.into(taken)(opened.message)
            except Exception as error:
                print(f"open {attachment['id']}: {error!r}", file=sys.stderr, flush=True)
        return taken

    def into(self, taken):
        async def take(msg):
            taken.append({name: msg.get(name) for name in ("id", "type", "from", "body")})

        return take

    def receive(self, taken):
        self.received += taken
        self.arrived.set()

    async def send(self, params):
        """Sends a basic message. A mediator answers a forward with 202, which the
        quickstart would take for a failure."""
        msg = message(
            "https://didcomm.org/basicmessage/2.0/message",
            self.own,
            params["to"],
            body={"content": params["content"]},
        )
        packed = await self.dmp.pack(msg, params["to"], self.own)
        async with aiohttp.ClientSession() as session:
            async with session.post(
                packed.get_endpoint("http"),
                data=packed.message,
                headers={"Content-Type": "application/didcomm-encrypted+json"},
            ) as response:
                if response.status // 100 != 2:
                    raise Exception(f"{response.status}: {await response.text()}")
        return {"id": msg["id"]}

    async def take_received(self, params):
        """What came in since the last call; waits for so many messages at least."""
        while len(self.received) < params["count"]:
            self.arrived.clear()
            await self.arrived.wait()
        received, self.received = self.received, []
        return {"received": received}

    async def answer(self, line):
        request = json.loads(line)
        operations = {
            "hello": self.hello,
            "start": self.start,
            "send": self.send,
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
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await self.answer(line)), file=ANSWERS, flush=True)


def load(path):
    """The DID of a file with its keys, made if there is none."""
    try:
        with open(path) as file:
            state = json.load(file)
        return state["did"], tuple(Key.from_jwk(jwk) for jwk in state["keys"])
    except FileNotFoundError:
        did, keys = quickstart.generate_did()
        with open(path, "w") as file:
            json.dump(
                {"did": did, "keys": [json.loads(key.get_jwk_secret()) for key in keys]},
                file,
            )
        return did, keys


asyncio.run(Agent().main())
