import type { Job, NewJob, Outcome } from '@monorepo/contract';

/** Thrown when an outcome arrives for a job that is not running. */
export class NotRunning extends Error {}

interface Lease {
  job: Job;
  until: number;
}

/**
 * The jobs, in memory. A claimed job whose worker goes silent returns to the queue after `leaseMs`; only the newest
 * `keep` finished jobs are kept, so that a long-lived API does not grow. Times are milliseconds of `now`.
 */
export class Queue {
  #lastId = 0;
  readonly #queued: Job[] = [];
  readonly #running = new Map<number, Lease>();
  readonly #finished: Job[] = [];

  constructor(
    private readonly leaseMs = 30_000,
    private readonly keep = 100,
    private readonly now: () => number = Date.now,
  ) {}

  add(fresh: NewJob): Job {
    const job: Job = { ...fresh, id: ++this.#lastId, status: 'queued', createdAt: new Date(this.now()).toISOString() };
    this.#queued.push(job);
    return job;
  }

  /** The oldest waiting job, now leased to `worker`. */
  claim(worker: string): Job | undefined {
    this.#requeueSilent();
    const job = this.#queued.shift();
    if (job === undefined) return undefined;
    job.status = 'running';
    job.worker = worker;
    this.#running.set(job.id, { job, until: this.now() + this.leaseMs });
    return job;
  }

  finish(id: number, outcome: Outcome): Job {
    const lease = this.#running.get(id);
    if (lease === undefined) throw new NotRunning(`job ${id} is not running`);
    this.#running.delete(id);
    const job = Object.assign(lease.job, outcome, { finishedAt: new Date(this.now()).toISOString() });
    this.#finished.push(job);
    if (this.#finished.length > this.keep) this.#finished.shift();
    return job;
  }

  /** Every job still known, newest first. */
  list(): Job[] {
    const running = [...this.#running.values()].map((lease) => lease.job);
    return [...this.#queued, ...running, ...this.#finished].sort((a, b) => b.id - a.id);
  }

  #requeueSilent(): void {
    for (const { job, until } of this.#running.values()) {
      if (until > this.now()) continue;
      this.#running.delete(job.id);
      job.status = 'queued';
      delete job.worker;
      this.#queued.unshift(job);
    }
  }
}
