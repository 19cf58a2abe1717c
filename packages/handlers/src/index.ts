import { createHash } from 'node:crypto';
import { marked } from 'marked';

/** Does one kind of work on a job's input. */
export type Handler = (input: string) => Promise<string>;

const handlers: ReadonlyMap<string, Handler> = new Map<string, Handler>([
  ['count', async (input) => `${input.split(/\s+/).filter(Boolean).length} words`],
  ['checksum', async (input) => createHash('sha256').update(input).digest('hex')],
  ['render', async (input) => await marked.parse(input)],
]);

/** The kinds of job `run` knows. */
export const kinds: readonly string[] = [...handlers.keys()];

/** Runs the handler for `kind`. Fails for a kind that is not in `kinds`. */
export async function run(kind: string, input: string): Promise<string> {
  const handler = handlers.get(kind);
  if (handler === undefined) throw new Error(`no handler for "${kind}" (known: ${kinds.join(', ')})`);
  return await handler(input);
}
