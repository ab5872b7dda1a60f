"""SICPA's didcomm for Python behind the interop suite's JSON lines.

One request a line on standard input, one answer a line on standard output; all
else goes to standard error. Only public calls of didcomm and peerdid are used.
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

from didcomm.common.algorithms import AnonCryptAlg
from didcomm.common.resolvers import ResolversConfig
from didcomm.common.types import (
    VerificationMaterial,
    VerificationMaterialFormat,
    VerificationMethodType,
)
from didcomm.did_doc.did_doc import DIDDoc
from didcomm.did_doc.did_resolver import DIDResolver
from didcomm.message import Message
from didcomm.pack_encrypted import PackEncryptedConfig, PackEncryptedParameters, pack_encrypted
from didcomm.pack_plaintext import PackPlaintextParameters, pack_plaintext
from didcomm.pack_signed import PackSignedParameters, pack_signed
from didcomm.protocols.routing.forward import unpack_forward
from didcomm.secrets.secrets_resolver import Secret
from didcomm.secrets.secrets_resolver_in_memory import SecretsResolverInMemory
from didcomm.unpack import unpack
from peerdid.peer_did import create_peer_did_numalgo_2, is_peer_did, resolve_peer_did
from peerdid.types import (
    VerificationMaterialAgreement,
    VerificationMaterialAuthentication,
    VerificationMaterialFormatPeerDID,
    VerificationMethodTypeAgreement,
    VerificationMethodTypeAuthentication,
)

ANONCRYPT = {alg.value.enc: alg for alg in AnonCryptAlg}


class Lacks(Exception):
    """Something that the library does not offer."""


class Documents(DIDResolver):
    """The documents handed in, then did:peer by peerdid."""

    def __init__(self, documents):
        self.documents = {d["id"]: d for d in documents}
        self.parsed = {}

    async def resolve(self, did):
        if did not in self.parsed:
            document = self.documents.get(did)
            if document is None and is_peer_did(did):
                document = peer_document(did)
            self.parsed[did] = None if document is None else DIDDoc.deserialize(document)
        return self.parsed[did]


def peer_document(did):
    """peerdid's document in the form that didcomm reads: it looks up keys among
    the verification methods, while peerdid embeds them where they are used."""
    document = json.loads(resolve_peer_did(did, VerificationMaterialFormatPeerDID.JWK))
    methods = document["verificationMethod"] = []
    for relationship in ("authentication", "keyAgreement"):
        embedded = document.get(relationship, [])
        methods += embedded
        document[relationship] = [method["id"] for method in embedded]
    return document


def resolvers(params):
    secrets = [
        Secret(
            kid=jwk["kid"],
            type=VerificationMethodType.JSON_WEB_KEY_2020,
            verification_material=VerificationMaterial(
                VerificationMaterialFormat.JWK, json.dumps(jwk)
            ),
        )
        for jwk in params.get("secrets") or []
    ]
    return ResolversConfig(
        secrets_resolver=SecretsResolverInMemory(secrets),
        did_resolver=Documents(params.get("documents") or []),
    )


async def hello(params):
    return {
        "name": "didcomm",
        "language": "Python " + ".".join(map(str, sys.version_info[:3])),
        "versions": {name: version(name) for name in ("didcomm", "peerdid", "Authlib")},
    }


async def pack(params):
    packed = await envelope(params, resolvers(params), Message.from_dict(params["message"]))
    return {"envelope": json.loads(packed.packed_msg)}


async def envelope(params, config, message):
    issuer = params.get("from_prior_issuer_kid")
    if params.get("to"):
        packing = PackEncryptedConfig(
            protect_sender_id=params.get("protect_sender", False),
            forward=params.get("forward", False),
        )
        if params.get("enc"):
            if params["enc"] not in ANONCRYPT:
                raise Lacks("enc " + params["enc"])
            packing.enc_alg_anon = ANONCRYPT[params["enc"]]
        return await pack_encrypted(
            config,
            message,
            to=params["to"],
            frm=params.get("from"),
            sign_frm=params.get("sign_by"),
            pack_config=packing,
            pack_params=PackEncryptedParameters(from_prior_issuer_kid=issuer),
        )
    if params.get("sign_by"):
        return await pack_signed(config, message, params["sign_by"], PackSignedParameters(issuer))
    return await pack_plaintext(config, message, PackPlaintextParameters(issuer))


async def unpack_message(params):
    opened = await unpack(resolvers(params), params["envelope"])
    m = opened.metadata
    message = opened.message.as_dict()
    metadata = {
        "encrypted": m.encrypted,
        "authenticated": m.authenticated,
        "non_repudiation": m.non_repudiation,
        "anonymous_sender": m.anonymous_sender,
        "re_wrapped_in_forward": m.re_wrapped_in_forward,
        "encrypted_from_kid": m.encrypted_from,
        "encrypted_to_kids": m.encrypted_to,
        "sign_from": m.sign_from,
        "sign_alg": m.sign_alg.value if m.sign_alg else None,
        "enc_alg_auth": m.enc_alg_auth.value.enc if m.enc_alg_auth else None,
        "enc_alg_anon": m.enc_alg_anon.value.enc if m.enc_alg_anon else None,
        "from_prior_issuer_kid": m.from_prior_issuer_kid,
    }
    return {
        "from_prior": message.pop("from_prior", None),
        "message": message,
        "metadata": {k: v for k, v in metadata.items() if v is not None},
    }


async def unwrap(params):
    """The mediator's part: opens one forward."""
    opened = await unpack_forward(resolvers(params), params["envelope"], False)
    return {
        "next": opened.forward_msg.body.next,
        "envelope": opened.forwarded_msg,
        "encrypted_to_kids": opened.forwarded_msg_encrypted_to,
    }


async def bench(params):
    """Packs, or opens the envelope that is given, many times over, with all else
    read once."""
    config = resolvers(params)
    if params.get("envelope"):
        text = json.dumps(params["envelope"])
        began = time.process_time_ns()
        for _ in range(params["times"]):
            await unpack(config, text)
    else:
        message = Message.from_dict(params["message"])
        began = time.process_time_ns()
        for _ in range(params["times"]):
            await envelope(params, config, message)
    return {"nanoseconds": time.process_time_ns() - began}


async def create_peer_did(params):
    """A did:peer:2 by the peer's own library, of public JWKs."""

    def material(kind, typ, jwk):
        return kind(VerificationMaterialFormatPeerDID.JWK, typ, jwk)

    did = create_peer_did_numalgo_2(
        [
            material(
                VerificationMaterialAgreement,
                VerificationMethodTypeAgreement.JSON_WEB_KEY_2020,
                jwk,
            )
            for jwk in params["key_agreement"]
        ],
        [
            material(
                VerificationMaterialAuthentication,
                VerificationMethodTypeAuthentication.JSON_WEB_KEY_2020,
                jwk,
            )
            for jwk in params["authentication"]
        ],
        None,
    )
    return {"did": did, "document": peer_document(did)}


async def resolve(params):
    if not is_peer_did(params["did"]):
        raise Lacks("no resolver for " + params["did"])
    return {"did": params["did"], "document": peer_document(params["did"])}


OPERATIONS = {
    "hello": hello,
    "pack": pack,
    "unpack": unpack_message,
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
        # didcomm's errors often have no text; what made them says more.
        code = getattr(error, "code", None)
        text = [getattr(code, "name", None), str(error)]
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
