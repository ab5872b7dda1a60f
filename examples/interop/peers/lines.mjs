// The interop suite's JSON lines for peers in JavaScript: one request a line on
// standard input, one answer a line on standard output; all else goes to
// standard error.

import { createInterface } from "node:readline";

// The answers keep the real standard output; whatever prints goes to stderr.
const write = process.stdout.write.bind(process.stdout);
process.stdout.write = process.stderr.write.bind(process.stderr);

/** Something that the library does not offer. */
export class Lacks extends Error {
  name = "lacks";
}

/** An envelope as it is sent; one in Compact serialization is a string. */
export function wire(envelope) {
  return typeof envelope === "string" ? envelope : JSON.stringify(envelope);
}

/** Answers requests by operations, by name, until the input ends. */
export async function serve(operations) {
  for await (const line of createInterface({ input: process.stdin })) {
    write(JSON.stringify(await answer(operations, JSON.parse(line))) + "\n");
  }
}

async function answer(operations, { id, op, params }) {
  try {
    if (!Object.hasOwn(operations, op)) throw new Lacks(`operation ${op}`);
    return { id, result: await operations[op](params ?? {}) };
  } catch (error) {
    process.stderr.write(`${op}: ${error?.stack ?? error}\n`);
    return {
      id,
      error: { type: String(error?.name ?? "Error"), message: String(error?.message ?? error) },
    };
  }
}

/** What this process takes of the processors while it does an operation so many
 * times. */
export async function processorTime(times, operation) {
  const began = process.cpuUsage();
  for (let i = 0; i < times; i++) await operation();
  const { user, system } = process.cpuUsage(began);
  return { nanoseconds: (user + system) * 1000 };
}
