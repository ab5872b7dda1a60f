"""A live agent around didcomm-messaging, put together as its quickstart does."""

from importlib.metadata import version

from agent import Library, run
from aries_askar import Key, KeyAlg
from did_peer_2 import KeySpec, generate
from didcomm_messaging import DIDCommMessaging
from didcomm_messaging.crypto.backend.askar import AskarCryptoService, AskarSecretKey
from didcomm_messaging.crypto.backend.basic import InMemorySecretsManager
from didcomm_messaging.multiformats import multibase, multicodec
from didcomm_messaging.packaging import PackagingService
from didcomm_messaging.resolver import PrefixResolver
from didcomm_messaging.resolver.peer import Peer2, Peer4
from didcomm_messaging.routing import RoutingService


def multikey(codec, key):
    return multibase.encode(multicodec.wrap(codec, key.get_public_bytes()), "base58btc")


class DIDCommMessagingLibrary(Library):
    def __init__(self):
        self.secrets = InMemorySecretsManager()
        self.dmp = DIDCommMessaging(
            crypto=AskarCryptoService(),
            secrets=self.secrets,
            resolver=PrefixResolver({"did:peer:2": Peer2(), "did:peer:4": Peer4()}),
            packaging=PackagingService(),
            routing=RoutingService(),
        )

    def versions(self):
        return {name: version(name) for name in ("didcomm-messaging", "did-peer-2", "aries-askar")}

    def create(self, endpoint, params):
        sign, agree = Key.generate(KeyAlg.ED25519), Key.generate(KeyAlg.X25519)
        service = {
            "type": "DIDCommMessaging",
            "serviceEndpoint": {"uri": endpoint, "accept": ["didcomm/v2"], "routingKeys": []},
        }
        did = generate(
            [
                KeySpec.verification(multikey("ed25519-pub", sign)),
                KeySpec.key_agreement(multikey("x25519-pub", agree)),
            ],
            [service],
        )
        for number, key in enumerate((sign, agree), start=1):
            kid = f"{did}#key-{number}"
            self.secrets.secrets[kid] = AskarSecretKey(key, kid)
        return did

    async def pack(self, message, to, frm):
        return (await self.dmp.pack(message, to, frm)).message.decode()

    async def unpack(self, envelope):
        opened = await self.dmp.unpack(envelope.encode())
        return opened.message, {
            "encrypted": opened.encrytped,
            "authenticated": opened.authenticated,
            "encrypted_from_kid": opened.sender_kid,
            "encrypted_to_kids": [opened.recipient_kid],
        }

    async def endpoint(self, did):
        document = await self.dmp.resolver.resolve(did)
        return document["service"][0]["serviceEndpoint"]["uri"]


run(DIDCommMessagingLibrary())
