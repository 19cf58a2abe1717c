import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { logger } from '@monorepo/service';
import { Api } from './api.js';
import { work } from './loop.js';

test('the worker reports what came of each job and ends when told', async () => {
  const waiting = [
    { id: 1, kind: 'count', input: 'a b c' },
    { id: 2, kind: 'dance', input: '' },
  ];
  const reports: Array<[string, unknown]> = [];
  const stop = new AbortController();
  const server = createServer(async (request, response) => {
    const body: unknown = JSON.parse((await request.toArray()).join(''));
    if (request.url !== '/jobs/claim') {
      reports.push([request.url ?? '', body]);
      if (reports.length === 2) stop.abort();
    }
    const job = request.url === '/jobs/claim' ? waiting.shift() : undefined;
    response.writeHead(job === undefined ? 204 : 200).end(job && JSON.stringify(job));
  }).listen(0);

  try {
    const { port } = server.address() as AddressInfo;
    const tally = { done: 0, failed: 0 };
    await work(new Api(`http://127.0.0.1:${port}`, 'w1'), logger('worker', 'silent'), tally, stop.signal, 1);
    assert.deepEqual(reports[0], ['/jobs/1/outcome', { status: 'done', output: '3 words' }]);
    assert.equal(reports[1]?.[0], '/jobs/2/outcome');
    assert.deepEqual(tally, { done: 1, failed: 1 });
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
