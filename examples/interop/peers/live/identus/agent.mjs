// A live agent of the Identus SDK behind a mediator: the SDK's own agent, with its
// storage in a file and the WebSocket that the SDK expects of its platform. The SDK
// does all of mediation and pickup. The suite steers the agent by JSON lines.

import { readFileSync, writeFileSync } from "node:fs";

import WebSocket from "ws";
import { Agent, Apollo, BasicMessage, Domain, ListenerKey, Pluto } from "@hyperledger/identus-sdk";

import { serve } from "./lines.mjs";

globalThis.WebSocket = WebSocket;

/** Rows of the SDK's storage, in a file that each change writes. */
class FileStore {
  constructor(path) {
    this.path = path;
    try {
      this.tables = JSON.parse(readFileSync(path));
    } catch (error) {
      if (error.code !== "ENOENT") throw error;
      this.tables = {};
    }
  }

  async query(table, query) {
    return (this.tables[table] ?? []).filter((row) => matches(row, query?.selector));
  }

  async insert(table, row) {
    (this.tables[table] ??= []).push(row);
    this.#write();
  }

  async update(table, row) {
    this.tables[table] = this.tables[table].map((r) => (r.uuid === row.uuid ? row : r));
    this.#write();
  }

  async delete(table, uuid) {
    this.tables[table] = this.tables[table].filter((r) => r.uuid !== uuid);
    this.#write();
  }

  #write() {
    writeFileSync(this.path, JSON.stringify(this.tables));
  }
}

/** Whether a row has the members of a selector; $or has selectors. */
function matches(row, selector = {}) {
  return Object.entries(selector).every(([name, value]) =>
    name === "$or" ? value.some((s) => matches(row, s)) : row[name] === value,
  );
}

let agent;
let own; // the DID that the mediator mediates
const received = [];
let arrived = () => {}; // called when a message comes in

async function hello() {
  const manifest = new URL("./node_modules/@hyperledger/identus-sdk/package.json", import.meta.url);
  return {
    name: "identus",
    language: `Node.js ${process.versions.node}`,
    versions: { "@hyperledger/identus-sdk": JSON.parse(readFileSync(manifest)).version },
  };
}

/** Enrolls with a mediator, or goes on with the one in the state file. */
async function start({ state, mediator, live }) {
  const store = new FileStore(state);
  agent = Agent.initialize({
    mediatorDID: mediator,
    pluto: new Pluto(store, new Apollo()),
    options: { experiments: { liveMode: live } },
  });
  agent.addListener(ListenerKey.MESSAGE, (messages) => {
    for (const m of messages) received.push({ id: m.id, type: m.piuri, from: m.from?.toString(), body: m.body });
    arrived();
  });
  // The start of the agent begins to fetch, each 5 seconds unless told otherwise.
  const fetch = agent.startFetchingMessages.bind(agent);
  agent.startFetchingMessages = () => fetch(200);
  await agent.start();
  if (agent.connections.mediator?.routingDID === undefined) throw new Error("no mediation was granted");
  own = store.tables.own?.[0].did;
  if (own === undefined) {
    own = (await agent.createNewPeerDID()).toString();
    await store.insert("own", { uuid: "own", did: own });
  }
  return { did: own };
}

/** Sends a basic message. */
async function send({ to, content }) {
  const message = new BasicMessage({ content }, Domain.DID.from(own), Domain.DID.from(to)).makeMessage();
  await agent.sendMessage(message);
  return { id: message.id };
}

/** What came in since the last call; waits for so many messages at least. */
async function takeReceived({ count }) {
  while (received.length < count) await new Promise((resolve) => (arrived = resolve));
  return { received: received.splice(0) };
}

await serve({ hello, start, send, received: takeReceived });
process.exit(0);
