import { z } from 'zod';

/** What a client asks for: a kind of work and the text to do it on. */
export const NewJob = z.object({
  kind: z.string().min(1).max(40),
  input: z.string().max(100_000),
});
export type NewJob = z.infer<typeof NewJob>;

/** A worker's name, given when it claims a job. */
export const Claim = z.object({ worker: z.string().min(1).max(100) });
export type Claim = z.infer<typeof Claim>;

/** What came of a job. */
export const Outcome = z.discriminatedUnion('status', [
  z.object({ status: z.literal('done'), output: z.string() }),
  z.object({ status: z.literal('failed'), error: z.string() }),
]);
export type Outcome = z.infer<typeof Outcome>;

export const Job = NewJob.extend({
  id: z.number().int().positive(),
  status: z.enum(['queued', 'running', 'done', 'failed']),
  createdAt: z.iso.datetime(),
  finishedAt: z.iso.datetime().optional(),
  worker: z.string().optional(),
  output: z.string().optional(),
  error: z.string().optional(),
});
export type Job = z.infer<typeof Job>;

export const JobList = z.object({ jobs: z.array(Job) });
export type JobList = z.infer<typeof JobList>;
