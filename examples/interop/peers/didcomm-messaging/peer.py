"""didcomm-messaging for Python, with aries-askar, behind the interop suite's JSON
lines.

One request a line on standard input, one answer a line on standard output; all
else goes to standard error. Only public calls of didcomm_messaging and of the
did_peer_2 that it resolves with are used: PackagingService packs and unpacks, a
RoutingService wraps.
"""

import asyncio
import json
import os
import sys
import time
from importlib.metadata import version

# The answers keep the real standard output; whatever prints goes to stderr.
answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)

from aries_askar import Key
from did_peer_2 import KeySpec, generate
from didcomm_messaging.crypto.backend.askar import AskarCryptoService, AskarKey, AskarSecretKey
from didcomm_messaging.crypto.backend.basic import InMemorySecretsManager
from didcomm_messaging.packaging import PackagingService
from didcomm_messaging.resolver import DIDResolver, PrefixResolver
from didcomm_messaging.resolver.peer import Peer2, Peer4
from didcomm_messaging.routing import RoutingService

FORWARD = "https://didcomm.org/routing/2.0/forward"

crypto = AskarCryptoService()
packaging = PackagingService()
routing = RoutingService()


class Lacks(Exception):
    """Something that the library does not offer."""


class Documents(DIDResolver):
    """The documents handed in, then did:peer by the library's resolvers."""

    def __init__(self, documents):
        self.documents = {d["id"]: d for d in documents}
        self.others = PrefixResolver({"did:peer:2": Peer2(), "did:peer:4": Peer4()})
        self.parsed = {}

    async def is_resolvable(self, did):
        return did in self.documents or await self.others.is_resolvable(did)

    async def resolve(self, did):
        if did in self.documents:
            return self.documents[did]
        return await self.others.resolve(did)

    async def resolve_and_parse(self, did):
        if did not in self.parsed:
            self.parsed[did] = await super().resolve_and_parse(did)
        return self.parsed[did]


def resolver_of(params):
    return Documents(params.get("documents") or [])


def secrets_of(params):
    secrets = {}
    for jwk in params.get("secrets") or []:
        secrets[jwk["kid"]] = AskarSecretKey(Key.from_jwk(json.dumps(jwk)), jwk["kid"])
    return InMemorySecretsManager(secrets)


async def hello(params):
    return {
        "name": "didcomm-messaging",
        "language": "Python " + ".".join(map(str, sys.version_info[:3])),
        "versions": {
            name: version(name) for name in ("didcomm-messaging", "aries-askar", "did-peer-2")
        },
    }


async def recipients(resolver, to):
    """The keys for key agreement that a DID stands for; given a DID, pack takes
    the first alone."""
    if "#" in to:
        return [to]
    document = await resolver.resolve_and_parse(to)
    ids = [getattr(method, "id", method) for method in document.key_agreement or []]
    return [id if id.did else id.as_absolute(to) for id in ids]


async def pack(params):
    if not params.get("to"):
        raise Lacks("nothing that packs without encryption")
    if params.get("sign_by"):
        raise Lacks("signatures")
    if params.get("protect_sender"):
        raise Lacks("anoncrypt around authcrypt")
    if params.get("from_prior_issuer_kid"):
        raise Lacks("a way to sign a from_prior")
    if not params.get("from") and params.get("enc", "XC20P") != "XC20P":
        raise Lacks("a choice of enc: anoncrypt is XC20P")
    resolver, secrets = resolver_of(params), secrets_of(params)
    packed = await envelope(params, resolver, secrets)
    if params.get("forward"):
        packed, _ = await routing.prepare_forward(
            crypto, packaging, resolver, secrets, params["to"], packed
        )
    return {"envelope": json.loads(packed)}


async def envelope(params, resolver, secrets):
    return await packaging.pack(
        crypto,
        resolver,
        secrets,
        json.dumps(params["message"]).encode(),
        await recipients(resolver, params["to"]),
        params.get("from"),
    )


def wire(envelope):
    """An envelope as it is sent; one in Compact serialization is a string."""
    return envelope if isinstance(envelope, str) else json.dumps(envelope)


async def open_message(params):
    """Opens an envelope; what is in it has to be a message."""
    plaintext, opened = await packaging.unpack(
        crypto, resolver_of(params), secrets_of(params), wire(params["envelope"])
    )
    message = json.loads(plaintext)
    if "ciphertext" in message or "payload" in message:
        raise Lacks("what is in the envelope, an envelope, is handed out as the message")
    return message, opened


async def unpack(params):
    message, opened = await open_message(params)
    if message["type"] == FORWARD:
        raise Lacks("a forward is handed out as the message")
    if "from_prior" in message:
        raise Lacks("from_prior is handed out unread")
    authenticated = opened.method == "ECDH-1PU"
    metadata = {
        "encrypted": True,
        "authenticated": authenticated,
        "anonymous_sender": not authenticated,
        "encrypted_to_kids": list(opened.wrapper.recipient_key_ids),
        "enc_alg_auth" if authenticated else "enc_alg_anon": opened.wrapper.protected["enc"],
    }
    if authenticated:
        metadata["encrypted_from_kid"] = opened.sender_kid
    return {"from_prior": None, "message": message, "metadata": metadata}


async def unwrap(params):
    """The mediator's part: opens one forward. Its reading is the mediator's own,
    for the library has none."""
    message, opened = await open_message(params)
    if message["type"] != FORWARD:
        raise TypeError("not a forward")
    return {
        "next": message["body"]["next"],
        "envelope": message["attachments"][0]["data"]["json"],
        "encrypted_to_kids": list(opened.wrapper.recipient_key_ids),
    }


async def bench(params):
    """Packs, or opens the envelope that is given, many times over, with all else
    read once."""
    resolver, secrets = resolver_of(params), secrets_of(params)
    if params.get("envelope"):
        text = json.dumps(params["envelope"])
        began = time.process_time_ns()
        for _ in range(params["times"]):
            plaintext, _ = await packaging.unpack(crypto, resolver, secrets, text)
            json.loads(plaintext)
    else:
        began = time.process_time_ns()
        for _ in range(params["times"]):
            await envelope(params, resolver, secrets)
    return {"nanoseconds": time.process_time_ns() - began}


async def create_peer_did(params):
    """A did:peer:2 by did_peer_2, of public JWKs."""

    def multikey(jwk):
        return AskarKey(Key.from_jwk(json.dumps(jwk)), "").multikey

    did = generate(
        [KeySpec.key_agreement(multikey(jwk)) for jwk in params["key_agreement"]]
        + [KeySpec.authentication(multikey(jwk)) for jwk in params["authentication"]],
        [],
    )
    return await resolve({"did": did})


async def resolve(params):
    return {"did": params["did"], "document": await resolver_of({}).resolve(params["did"])}


OPERATIONS = {
    "hello": hello,
    "pack": pack,
    "unpack": unpack,
    "unwrap": unwrap,
    "bench": bench,
    "create_peer_did": create_peer_did,
    "resolve": resolve,
}


async def answer(line):
    request = json.loads(line)
    try:
        if request["op"] not in OPERATIONS:
            raise Lacks("operation " + request["op"])
        result = await OPERATIONS[request["op"]](request.get("params") or {})
        return {"id": request["id"], "result": result}
    except Exception as error:
        print(f"{request['op']}: {error!r}", file=sys.stderr, flush=True)
        text = [str(error)]
        # What made the library's errors says more.
        if error.__cause__ is not None:
            text.append(f"because of {error.__cause__!r}")
        return {
            "id": request["id"],
            "error": {
                "type": "lacks" if isinstance(error, Lacks) else type(error).__name__,
                "message": " ".join(filter(None, text)),
            },
        }


async def main():
    for line in sys.stdin:
        print(json.dumps(await answer(line)), file=answers, flush=True)


asyncio.run(main())
