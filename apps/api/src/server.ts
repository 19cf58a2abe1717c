import { Claim, NewJob, Outcome } from '@monorepo/contract';
import type { Logger } from '@monorepo/service';
import { fastify, LogController, type FastifyBaseLogger, type FastifyInstance } from 'fastify';
import { NotRunning, Queue } from './queue.js';

/** The API's routes over `queue`; it does not listen yet. */
export function server(log: Logger, queue = new Queue()): FastifyInstance {
  const app = fastify({
    loggerInstance: log as FastifyBaseLogger,
    // A worker asks every half second: a line for each request would drown the others.
    logController: new LogController({ disableRequestLogging: true }),
    forceCloseConnections: true,
  });

  app.setErrorHandler((error: Error & { statusCode?: number }, _request, reply) => {
    const status = error.name === 'ZodError' ? 400 : error instanceof NotRunning ? 409 : (error.statusCode ?? 500);
    if (status >= 500) log.error({ err: error }, 'request failed');
    return reply.code(status).send({ error: error.message });
  });

  app.get('/healthz', async () => ({ status: 'ok' }));

  app.get('/jobs', async () => ({ jobs: queue.list() }));

  app.post('/jobs', async (request, reply) => {
    const job = queue.add(NewJob.parse(request.body));
    log.info({ job: job.id, kind: job.kind }, 'queued');
    return reply.code(201).send(job);
  });

  app.post('/jobs/claim', async (request, reply) => {
    const job = queue.claim(Claim.parse(request.body).worker);
    return job === undefined ? reply.code(204).send() : job;
  });

  app.post<{ Params: { id: string } }>('/jobs/:id/outcome', async (request) => {
    const job = queue.finish(Number(request.params.id), Outcome.parse(request.body));
    log.info({ job: job.id, status: job.status, worker: job.worker }, 'finished');
    return job;
  });

  return app;
}
