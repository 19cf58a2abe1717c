import { setTimeout as sleep } from 'node:timers/promises';
import { run } from '@monorepo/handlers';
import type { Logger } from '@monorepo/service';
import type { Api, Outcome } from './api.js';

/** How many jobs this worker has ended, for its health route. */
export interface Tally {
  done: number;
  failed: number;
}

/**
 * Claims and runs jobs until `stop`. An API that is away is asked again every `pauseMs`: a worker outlives the
 * restarts of what it talks to.
 */
export async function work(api: Api, log: Logger, tally: Tally, stop: AbortSignal, pauseMs = 500): Promise<void> {
  while (!stop.aborted) {
    try {
      const job = await api.claim(stop);
      if (job !== undefined) {
        const outcome = await attempt(job.kind, job.input);
        tally[outcome.status] += 1;
        log.info({ job: job.id, kind: job.kind, status: outcome.status }, 'ran');
        await api.report(job.id, outcome);
        continue;
      }
    } catch (err) {
      if (!stop.aborted) log.warn({ err }, 'the API did not answer');
    }
    await sleep(pauseMs, undefined, { signal: stop }).catch(() => undefined);
  }
}

async function attempt(kind: string, input: string): Promise<Outcome> {
  try {
    return { status: 'done', output: await run(kind, input) };
  } catch (err) {
    return { status: 'failed', error: err instanceof Error ? err.message : String(err) };
  }
}
