import { JobList } from '@monorepo/contract';
import type { Logger } from '@monorepo/service';
import { Hono } from 'hono';
import { page } from './page.js';

/** The web service's routes. An API that is away is said on the page, and does not make this service unhealthy. */
export function app(apiUrl: string, log: Logger): Hono {
  const hono = new Hono();

  hono.get('/healthz', (c) => c.json({ status: 'ok' }));

  hono.get('/', async (c) => {
    try {
      const response = await fetch(`${apiUrl}/jobs`, { signal: AbortSignal.timeout(3_000) });
      return await c.html(page(JobList.parse(await response.json()).jobs));
    } catch (err) {
      log.warn({ err }, 'the API did not answer');
      return await c.html(page([], 'The API does not answer. Trying again …'), 503);
    }
  });

  return hono;
}
