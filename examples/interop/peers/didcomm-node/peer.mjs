// SICPA's didcomm for Node, its Rust library as WebAssembly, behind the interop
// suite's JSON lines. Only its public calls are used.

import { createRequire } from "node:module";

import { Lacks, processorTime, serve, wire } from "./lines.mjs";

const require = createRequire(import.meta.url);
const { FromPrior, Message } = require("didcomm-node");

const ANONCRYPT = {
  "A256CBC-HS512": "A256cbcHs512EcdhEsA256kw",
  A256GCM: "A256gcmEcdhEsA256kw",
  XC20P: "Xc20pEcdhEsA256kw",
};
const AUTHCRYPT = { "A256CBC-HS512": "A256cbcHs512Ecdh1puA256kw" };

/** A DID document in the library's own type: all lists there, one service for
 * each endpoint. */
function didDoc(document) {
  return {
    id: document.id,
    keyAgreement: document.keyAgreement ?? [],
    authentication: document.authentication ?? [],
    verificationMethod: document.verificationMethod ?? [],
    service: (document.service ?? []).flatMap((service) =>
      [service.serviceEndpoint].flat().map((serviceEndpoint) => ({
        id: service.id,
        type: service.type,
        serviceEndpoint,
      })),
    ),
  };
}

/** The documents handed in; the library brings no resolver. */
function didResolver({ documents }) {
  const known = new Map((documents ?? []).map((d) => [d.id, didDoc(d)]));
  return { resolve: async (did) => known.get(did) ?? null };
}

function secretsResolver({ secrets }) {
  const known = new Map(
    (secrets ?? []).map((jwk) => [
      jwk.kid,
      { id: jwk.kid, type: "JsonWebKey2020", privateKeyJwk: jwk },
    ]),
  );
  return {
    get_secret: async (kid) => known.get(kid) ?? null,
    find_secrets: async (kids) => kids.filter((kid) => known.has(kid)),
  };
}

/** The name that the envelope has for an algorithm of the library's. */
function enc(names, alg) {
  return Object.keys(names).find((name) => names[name] === alg);
}

async function hello() {
  return {
    name: "didcomm-node",
    language: `Node.js ${process.versions.node}`,
    versions: { "didcomm-node": require("didcomm-node/package.json").version },
  };
}

async function pack(params) {
  const dids = didResolver(params);
  const secrets = secretsResolver(params);
  const message = await messageOf(params, dids, secrets);
  return { envelope: JSON.parse(await envelope(params, dids, secrets, message)) };
}

async function messageOf(params, dids, secrets) {
  const value = params.message;
  if (params.from_prior_issuer_kid) {
    const claims = new FromPrior(value.from_prior);
    [value.from_prior] = await claims.pack(params.from_prior_issuer_kid, dids, secrets);
  }
  return new Message(value);
}

async function envelope(params, dids, secrets, message) {
  let packed;
  if (params.to) {
    if (params.enc && !ANONCRYPT[params.enc]) throw new Lacks(`enc ${params.enc}`);
    [packed] = await message.pack_encrypted(
      params.to,
      params.from ?? null,
      params.sign_by ?? null,
      dids,
      secrets,
      {
        protect_sender: params.protect_sender ?? false,
        forward: params.forward ?? false,
        ...(params.enc && { enc_alg_anon: ANONCRYPT[params.enc] }),
      },
    );
  } else if (params.sign_by) {
    [packed] = await message.pack_signed(params.sign_by, dids, secrets);
  } else {
    packed = await message.pack_plaintext(dids);
  }
  return packed;
}

async function unpack(params) {
  const [opened, m] = await Message.unpack(
    wire(params.envelope),
    didResolver(params),
    secretsResolver(params),
    { unwrap_re_wrapping_forward: true },
  );
  const { from_prior, ...message } = opened.as_value();
  return {
    message,
    from_prior: m.from_prior ?? null,
    metadata: {
      encrypted: m.encrypted,
      authenticated: m.authenticated,
      non_repudiation: m.non_repudiation,
      anonymous_sender: m.anonymous_sender,
      re_wrapped_in_forward: m.re_wrapped_in_forward,
      encrypted_from_kid: m.encrypted_from_kid ?? undefined,
      encrypted_to_kids: m.encrypted_to_kids ?? undefined,
      sign_from: m.sign_from ?? undefined,
      sign_alg: m.sign_alg ?? undefined,
      enc_alg_auth: enc(AUTHCRYPT, m.enc_alg_auth),
      enc_alg_anon: enc(ANONCRYPT, m.enc_alg_anon),
      from_prior_issuer_kid: m.from_prior_issuer_kid ?? undefined,
    },
  };
}

/** The mediator's part: opens one forward. */
async function unwrap(params) {
  const [opened, metadata] = await Message.unpack(
    wire(params.envelope),
    didResolver(params),
    secretsResolver(params),
    { unwrap_re_wrapping_forward: false },
  );
  // A plain object, where the library's types speak of a ParsedForward.
  const forward = opened.try_parse_forward();
  if (!forward) throw new TypeError("not a forward");
  const { next, forwarded_msg } = forward;
  return { next, envelope: forwarded_msg, encrypted_to_kids: metadata.encrypted_to_kids ?? [] };
}

/** Packs, or opens the envelope that is given, many times over, with all else read
 * once. */
async function bench(params) {
  const dids = didResolver(params);
  const secrets = secretsResolver(params);
  if (params.envelope) {
    const text = JSON.stringify(params.envelope);
    const options = { unwrap_re_wrapping_forward: true };
    return processorTime(params.times, () => Message.unpack(text, dids, secrets, options));
  }
  const message = await messageOf(params, dids, secrets);
  return processorTime(params.times, () => envelope(params, dids, secrets, message));
}

async function resolve({ did }) {
  throw new Lacks(`no resolver for ${did}`);
}

await serve({ hello, pack, unpack, unwrap, bench, resolve });
