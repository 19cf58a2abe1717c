// This service has no workspace dependency on purpose: a change in packages/ never rebuilds it.
import { createServer } from 'node:http';
import { Cron } from 'croner';
import { pino } from 'pino';
import { enqueue, jobFor } from './schedule.js';

const port = Number(process.env['PORT'] ?? 8080);
const apiUrl = (process.env['API_URL'] ?? 'http://127.0.0.1:8080').replace(/\/+$/, '');
const pattern = process.env['SCHEDULE'] ?? '*/2 * * * * *';

const log = pino({
  level: process.env['LOG_LEVEL'] ?? 'info',
  base: { service: 'scheduler' },
  timestamp: pino.stdTimeFunctions.isoTime,
});

let turn = 0;
const cron = new Cron(pattern, { protect: true }, async () => {
  const job = jobFor(turn, new Date());
  try {
    const id = await enqueue(apiUrl, job);
    turn += 1;
    log.info({ job: id, kind: job.kind }, 'enqueued');
  } catch (err) {
    log.warn({ err }, 'the API did not take the job');
  }
});

const health = createServer((request, response) => {
  const known = request.method === 'GET' && request.url === '/healthz';
  response.writeHead(known ? 200 : 404, { 'content-type': 'application/json' });
  response.end(JSON.stringify(known ? { status: 'ok', next: cron.nextRun() } : { error: 'not found' }));
}).listen(port, () => log.info({ port, apiUrl, pattern }, 'scheduling'));

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.once(signal, () => {
    log.info({ signal }, 'stopping');
    cron.stop();
    health.close(() => process.exit(0));
    health.closeAllConnections();
  });
}
