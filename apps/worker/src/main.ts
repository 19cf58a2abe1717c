import { hostname } from 'node:os';
import { kinds } from '@monorepo/handlers';
import { logger, onStop, serveHealth, settings } from '@monorepo/service';
import { Api } from './api.js';
import { work } from './loop.js';

const { port, apiUrl } = settings(process.env);
const log = logger('worker');
const tally = { done: 0, failed: 0 };
const stop = new AbortController();

const health = await serveHealth(port, () => tally);
log.info({ port: health.port, apiUrl, kinds }, 'working');
const working = work(new Api(apiUrl, hostname()), log, tally, stop.signal);

onStop(log, async () => {
  stop.abort();
  await working;
  await health.close();
});
