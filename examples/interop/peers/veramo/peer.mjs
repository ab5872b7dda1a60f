// Veramo's plugin for DIDComm v2 behind the interop suite's JSON lines: an agent
// as an application sets one up, with keys and identifiers in memory and a
// resolver of the documents handed in. Only the agent's public methods are used.

import { readFileSync } from "node:fs";

import { createAgent } from "@veramo/core";
import { DIDComm, DIDCommHttpTransport } from "@veramo/did-comm";
import { AbstractIdentifierProvider, DIDManager, MemoryDIDStore } from "@veramo/did-manager";
import { getDidKeyResolver } from "@veramo/did-provider-key";
import { DIDResolverPlugin } from "@veramo/did-resolver";
import { KeyManager, MemoryKeyStore, MemoryPrivateKeyStore } from "@veramo/key-manager";
import { KeyManagementSystem } from "@veramo/kms-local";
import { Resolver } from "did-resolver";

import { Lacks, processorTime, serve, wire } from "./lines.mjs";

/** The key manager's name for the type of a JWK. Others are not for it. */
const KEY_TYPES = {
  X25519: "X25519",
  Ed25519: "Ed25519",
  "P-256": "Secp256r1",
  secp256k1: "Secp256k1",
};

const FORWARD = "https://didcomm.org/routing/2.0/forward";

/** Veramo's own resolvers, of the methods that need no network. */
const own = new Resolver(getDidKeyResolver());

/** The documents handed in, then the agent's own resolvers. */
function resolver(documents) {
  const known = new Map((documents ?? []).map((document) => [document.id, document]));
  return {
    async resolve(didUrl) {
      const didDocument = known.get(didUrl.split(/[/?#]/, 1)[0]) ?? null;
      if (!didDocument && didUrl.startsWith("did:key:")) return own.resolve(didUrl);
      return {
        didDocument,
        didDocumentMetadata: {},
        didResolutionMetadata: didDocument ? {} : { error: "notFound" },
      };
    },
  };
}

/** Keeps what it is to send over HTTP. */
class Kept extends DIDCommHttpTransport {
  async send(service, message) {
    this.sent = message;
    return { result: "kept" };
  }
}

/** Identifiers come from outside; the agent makes none. */
class Given extends AbstractIdentifierProvider {}

function hex(...parts) {
  return Buffer.concat(parts.map((part) => Buffer.from(part, "base64url"))).toString("hex");
}

/** An agent that manages the DIDs of the secrets. Those of key types that the key
 * manager does not know are left out. */
async function agentOf({ secrets, documents }, transports) {
  const agent = createAgent({
    plugins: [
      new KeyManager({
        store: new MemoryKeyStore(),
        kms: { local: new KeyManagementSystem(new MemoryPrivateKeyStore()) },
      }),
      new DIDManager({
        store: new MemoryDIDStore(),
        defaultProvider: "given",
        providers: { given: new Given() },
      }),
      new DIDResolverPlugin({ resolver: resolver(documents) }),
      new DIDComm({ transports }),
    ],
  });
  const keys = new Map();
  for (const jwk of secrets ?? []) {
    const did = jwk.kid.split("#", 1)[0];
    if (!keys.has(did)) keys.set(did, []);
    const type = KEY_TYPES[jwk.crv];
    if (!type) continue;
    keys.get(did).push({
      kid: jwk.kid,
      kms: "local",
      type,
      privateKeyHex: jwk.crv === "Ed25519" ? hex(jwk.d, jwk.x) : hex(jwk.d),
    });
  }
  for (const [did, owned] of keys) {
    await agent.didManagerImport({ did, provider: "given", keys: owned });
  }
  return agent;
}

async function hello() {
  const version = (name) => {
    const manifest = new URL(`./node_modules/${name}/package.json`, import.meta.url);
    return JSON.parse(readFileSync(manifest)).version;
  };
  return {
    name: "@veramo/did-comm",
    language: `Node.js ${process.versions.node}`,
    versions: Object.fromEntries(
      ["@veramo/did-comm", "@veramo/core", "did-jwt"].map((name) => [name, version(name)]),
    ),
  };
}

/** The agent's name of a combination of layers; those that its types do not have
 * are the answer to why not. */
function packing(params) {
  if (params.protect_sender) {
    if (params.sign_by) throw new Lacks("no packing anoncrypt+authcrypt+jws");
    return "anoncrypt+authcrypt";
  }
  if (params.from) {
    if (params.sign_by) throw new Lacks("no packing authcrypt+jws");
    return "authcrypt";
  }
  if (params.to) return params.sign_by ? "anoncrypt+jws" : "anoncrypt";
  return params.sign_by ? "jws" : "none";
}

function packArgs(params) {
  const name = packing(params);
  return {
    message: params.message,
    packing: name,
    keyRef: params.sign_by,
    options: { enc: name === "authcrypt" ? "A256CBC-HS512" : params.enc },
  };
}

async function pack(params) {
  if (params.from_prior_issuer_kid) throw new Lacks("no way to sign a from_prior");
  // Forwards are made by sending.
  const transport = new Kept();
  const agent = await agentOf(params, [transport]);
  const packed = await agent.packDIDCommMessage(packArgs(params));
  if (params.forward) {
    await agent.sendDIDCommMessage({
      packedMessage: packed,
      messageId: params.message.id,
      recipientDidUrl: params.to,
    });
  }
  return { envelope: JSON.parse(transport.sent ?? packed.message) };
}

/** Opens an envelope; what is in it has to be a message. */
async function open(params) {
  const agent = await agentOf(params);
  const opened = await agent.unpackDIDCommMessage({ message: wire(params.envelope) });
  if (opened.message.ciphertext || opened.message.payload) {
    throw new Lacks("what is in the envelope, an envelope, is handed out as the message");
  }
  return opened;
}

async function unpack(params) {
  const { message, metaData } = await open(params);
  if (message.type === FORWARD) throw new Lacks("a forward is handed out as the message");
  const { from_prior, ...opened } = message;
  if (from_prior) throw new Lacks("from_prior is handed out unread");
  return {
    message: opened,
    from_prior: null,
    metadata: {
      encrypted: ["anoncrypt", "authcrypt"].includes(metaData.packing),
      authenticated: ["authcrypt", "jws"].includes(metaData.packing),
      non_repudiation: metaData.packing === "jws",
      anonymous_sender: metaData.packing === "anoncrypt",
    },
  };
}

/** The mediator's part: opens one forward and reads it as the plugin's handler of
 * forwards does. */
async function unwrap(params) {
  const { message } = await open(params);
  if (message.type !== FORWARD) throw new TypeError("not a forward");
  const envelope = message.attachments[0].data.json;
  return { next: message.body.next, envelope, encrypted_to_kids: [] };
}

/** Packs, or opens the envelope that is given, many times over, by one agent. */
async function bench(params) {
  const agent = await agentOf(params);
  if (params.envelope) {
    const args = { message: JSON.stringify(params.envelope) };
    return processorTime(params.times, () => agent.unpackDIDCommMessage(args));
  }
  const args = packArgs(params);
  return processorTime(params.times, () => agent.packDIDCommMessage(args));
}

async function resolve({ did }) {
  if (!did.startsWith("did:key:")) throw new Lacks(`no resolver for ${did}`);
  const { didDocument, didResolutionMetadata } = await own.resolve(did);
  if (!didDocument) throw new Error(didResolutionMetadata.error);
  return { did, document: didDocument };
}

await serve({ hello, pack, unpack, unwrap, bench, resolve });
