import { z } from 'zod';

// Only what a worker reads: the API may say more without this service being rebuilt.
const Claimed = z.object({ id: z.number(), kind: z.string(), input: z.string() });
export type Claimed = z.infer<typeof Claimed>;

export type Outcome = { status: 'done'; output: string } | { status: 'failed'; error: string };

/** The two calls a worker makes. */
export class Api {
  constructor(
    private readonly url: string,
    private readonly worker: string,
  ) {}

  async claim(signal: AbortSignal): Promise<Claimed | undefined> {
    const response = await this.#post('/jobs/claim', { worker: this.worker }, signal);
    return response.status === 204 ? undefined : Claimed.parse(await response.json());
  }

  async report(id: number, outcome: Outcome): Promise<void> {
    await this.#post(`/jobs/${id}/outcome`, outcome, AbortSignal.timeout(5_000));
  }

  async #post(path: string, body: object, signal: AbortSignal): Promise<Response> {
    const response = await fetch(this.url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal,
    });
    if (!response.ok) throw new Error(`${path} answered ${response.status}: ${await response.text()}`);
    return response;
  }
}
