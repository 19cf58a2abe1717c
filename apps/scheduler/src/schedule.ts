/** A job the scheduler asks for. */
export interface NewJob {
  kind: string;
  input: string;
}

const rounds: ReadonlyArray<(at: Date) => NewJob> = [
  (at) => ({ kind: 'count', input: `the quick brown fox jumps at ${at.toISOString()}` }),
  (at) => ({ kind: 'checksum', input: at.toISOString() }),
  (at) => ({ kind: 'render', input: `**Report** of _${at.toISOString()}_` }),
];

/** The job of the `turn`-th tick, counted from 0: each kind in its turn. */
export function jobFor(turn: number, at: Date): NewJob {
  const make = rounds[turn % rounds.length];
  if (make === undefined) throw new RangeError(`turn ${turn} is not a whole number from 0`);
  return make(at);
}

/** Hands `job` to the API at `url` and returns its id. */
export async function enqueue(url: string, job: NewJob): Promise<number> {
  const response = await fetch(`${url}/jobs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(job),
    signal: AbortSignal.timeout(5_000),
  });
  if (!response.ok) throw new Error(`the API answered ${response.status}: ${await response.text()}`);
  const { id } = (await response.json()) as { id: number };
  return id;
}
