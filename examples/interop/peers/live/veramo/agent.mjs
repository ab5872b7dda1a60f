// A live agent of Veramo: node's HTTP server in front of an agent as an application
// sets one up, with keys and identifiers in memory and a resolver of the documents
// handed in. Only the agent's public methods are used. The suite steers it by JSON
// lines.

import { createServer } from "node:http";
import { readFileSync } from "node:fs";

import { createAgent } from "@veramo/core";
import { DIDComm } from "@veramo/did-comm";
import { AbstractIdentifierProvider, DIDManager, MemoryDIDStore } from "@veramo/did-manager";
import { DIDResolverPlugin } from "@veramo/did-resolver";
import { KeyManager, MemoryKeyStore, MemoryPrivateKeyStore } from "@veramo/key-manager";
import { KeyManagementSystem } from "@veramo/kms-local";

import { serve } from "./lines.mjs";

const documents = new Map();

const resolver = {
  async resolve(didUrl) {
    const didDocument = documents.get(didUrl.split(/[/?#]/, 1)[0]) ?? null;
    return {
      didDocument,
      didDocumentMetadata: {},
      didResolutionMetadata: didDocument ? {} : { error: "notFound" },
    };
  },
};

/** Identifiers come from outside; the agent makes none. */
class Given extends AbstractIdentifierProvider {}

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
    new DIDResolverPlugin({ resolver }),
    new DIDComm({ transports: [] }),
  ],
});

const received = [];

/** Takes a message by POST; whoever cannot be understood is told so. */
async function take(request, response) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  try {
    const message = Buffer.concat(chunks).toString();
    const { message: opened, metaData } = await agent.unpackDIDCommMessage({ message });
    received.push({ message: opened, packing: metaData.packing });
    response.writeHead(202).end();
  } catch (error) {
    process.stderr.write(`${error?.stack ?? error}\n`);
    response.writeHead(400, { "Content-Type": "text/plain" }).end(String(error?.message ?? error));
  }
}

const server = createServer(take);
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));

async function hello() {
  const version = (name) => {
    const manifest = new URL(`./node_modules/${name}/package.json`, import.meta.url);
    return JSON.parse(readFileSync(manifest)).version;
  };
  return {
    name: "veramo",
    language: `Node.js ${process.versions.node}`,
    versions: Object.fromEntries(
      ["@veramo/did-comm", "@veramo/core"].map((name) => [name, version(name)]),
    ),
  };
}

/** Where the agent takes messages. */
async function endpoint() {
  return { url: `http://127.0.0.1:${server.address().port}/didcomm` };
}

/** Makes the agent manage a DID, of a document and the private keys of X25519. */
async function adopt({ document, secrets }) {
  documents.set(document.id, document);
  const keys = secrets
    .filter((jwk) => jwk.crv === "X25519")
    .map((jwk) => ({
      kid: jwk.kid,
      kms: "local",
      type: "X25519",
      privateKeyHex: Buffer.from(jwk.d, "base64url").toString("hex"),
    }));
  await agent.didManagerImport({ did: document.id, provider: "given", keys });
  return {};
}

/** What came in since the last call. */
async function takeReceived() {
  return { received: received.splice(0) };
}

await serve({ hello, endpoint, adopt, received: takeReceived });
process.exit(0);
