"""A live agent around SICPA's didcomm and peerdid for Python.

peerdid names the keys of a did:peer:2 by their own value, #6LS..., as the
method's text had it once. An agent that asks for current names has the keys of
its own DIDs and of others under #key-1, #key-2 ..., which is for the application
to do: resolving DIDs and keeping secrets are its part in didcomm. Services are
left out of what didcomm is told: it packs nothing for a DID whose service has the
shape of DIDComm v2.1.
"""

import json
from importlib.metadata import version

from agent import Library, run
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from didcomm.common.resolvers import ResolversConfig
from didcomm.common.types import (
    VerificationMaterial,
    VerificationMaterialFormat,
    VerificationMethodType,
)
from didcomm.did_doc.did_doc import DIDDoc
from didcomm.did_doc.did_resolver import DIDResolver
from didcomm.message import Message
from didcomm.pack_encrypted import pack_encrypted
from didcomm.secrets.secrets_resolver import Secret
from didcomm.secrets.secrets_resolver_in_memory import SecretsResolverInMemory
from didcomm.unpack import unpack
from peerdid.core.utils import urlsafe_b64encode
from peerdid.peer_did import create_peer_did_numalgo_2, resolve_peer_did
from peerdid.types import (
    VerificationMaterialAgreement,
    VerificationMaterialAuthentication,
    VerificationMaterialFormatPeerDID,
    VerificationMethodTypeAgreement,
    VerificationMethodTypeAuthentication,
)


def jwk(private, curve):
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    secret = private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    encode = lambda data: urlsafe_b64encode(data).decode()
    return {"kty": "OKP", "crv": curve, "x": encode(public), "d": encode(secret)}


def public(key):
    return {name: value for name, value in key.items() if name != "d"}


class Documents(DIDResolver):
    """did:peer:2 by peerdid, in the form that didcomm reads: it looks up keys among
    the verification methods, while peerdid embeds them where they are used."""

    def __init__(self, current):
        self.current = current

    def document(self, did):
        document = json.loads(resolve_peer_did(did, VerificationMaterialFormatPeerDID.JWK))
        names = {}
        if self.current:
            # #key-1, #key-2 ... in the order of the DID.
            keys = [part[1:] for part in did.split(".")[1:] if part[0] in "EV"]
            names = {f"{did}#{key[1:]}": f"{did}#key-{n}" for n, key in enumerate(keys, start=1)}
        methods = document["verificationMethod"] = []
        for relationship in ("authentication", "keyAgreement"):
            embedded = document.get(relationship, [])
            for method in embedded:
                method["id"] = names.get(method["id"], method["id"])
            methods += embedded
            document[relationship] = [method["id"] for method in embedded]
        return document

    async def resolve(self, did):
        document = self.document(did)
        document.pop("service", None)
        return DIDDoc.deserialize(document)


class DIDCommPython(Library):
    def __init__(self):
        self.secrets = []
        self.current = {}  # whether a DID of ours goes by current names

    def versions(self):
        return {name: version(name) for name in ("didcomm", "peerdid")}

    def create(self, endpoint, params):
        agree = jwk(X25519PrivateKey.generate(), "X25519")
        sign = jwk(Ed25519PrivateKey.generate(), "Ed25519")
        did = create_peer_did_numalgo_2(
            [
                VerificationMaterialAgreement(
                    VerificationMaterialFormatPeerDID.JWK,
                    VerificationMethodTypeAgreement.JSON_WEB_KEY_2020,
                    public(agree),
                )
            ],
            [
                VerificationMaterialAuthentication(
                    VerificationMaterialFormatPeerDID.JWK,
                    VerificationMethodTypeAuthentication.JSON_WEB_KEY_2020,
                    public(sign),
                )
            ],
            json.dumps(
                {
                    "type": "DIDCommMessaging",
                    "serviceEndpoint": endpoint,
                    "routingKeys": [],
                    "accept": ["didcomm/v2"],
                }
            ),
        )
        self.current[did] = params.get("names") != "older"
        kids = self.documents(did).document(did)
        for relationship, key in (("keyAgreement", agree), ("authentication", sign)):
            kid = kids[relationship][0]
            self.secrets.append(
                Secret(
                    kid=kid,
                    type=VerificationMethodType.JSON_WEB_KEY_2020,
                    verification_material=VerificationMaterial(
                        VerificationMaterialFormat.JWK, json.dumps({**key, "kid": kid})
                    ),
                )
            )
        return did

    def documents(self, own):
        return Documents(self.current[own])

    def config(self, own):
        return ResolversConfig(
            secrets_resolver=SecretsResolverInMemory(self.secrets),
            did_resolver=self.documents(own),
        )

    async def pack(self, message, to, frm):
        message = Message.from_dict(dict(message))  # it takes members out of what it is given
        return (await pack_encrypted(self.config(frm), message, to=to, frm=frm)).packed_msg

    async def unpack(self, envelope):
        own = json.loads(envelope)["recipients"][0]["header"]["kid"].split("#")[0]
        opened = await unpack(self.config(own), envelope)
        metadata = opened.metadata
        return opened.message.as_dict(), {
            "encrypted": metadata.encrypted,
            "authenticated": metadata.authenticated,
            "encrypted_from_kid": metadata.encrypted_from,
            "encrypted_to_kids": metadata.encrypted_to,
        }

    async def endpoint(self, did):
        document = json.loads(resolve_peer_did(did, VerificationMaterialFormatPeerDID.JWK))
        return document["service"][0]["serviceEndpoint"]["uri"]


run(DIDCommPython())
