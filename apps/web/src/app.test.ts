import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { logger } from '@monorepo/service';
import { app } from './app.js';

const log = logger('web', 'silent');

test('the page shows the jobs and escapes what is in them', async () => {
  const job = { id: 7, kind: 'render', input: '', status: 'done', createdAt: new Date(0).toISOString(), output: '<b>' };
  const api = createServer((_request, response) => response.end(JSON.stringify({ jobs: [job] }))).listen(0);
  try {
    const { port } = api.address() as AddressInfo;
    const response = await app(`http://127.0.0.1:${port}`, log).request('/');
    const body = await response.text();
    assert.equal(response.status, 200);
    assert.match(body, /<td>7<\/td><td>render<\/td><td class="done">done<\/td>/);
    assert.match(body, /&lt;b&gt;/);
  } finally {
    api.closeAllConnections();
    api.close();
  }
});

test('with the API away the page says so and the service stays healthy', async () => {
  const web = app('http://127.0.0.1:9', log);
  const response = await web.request('/');
  assert.equal(response.status, 503);
  assert.match(await response.text(), /does not answer/);
  assert.equal((await web.request('/healthz')).status, 200);
});
