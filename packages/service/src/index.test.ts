import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serveHealth, settings } from './index.js';

test('a port that is no port is refused with its value', () => {
  assert.throws(() => settings({ PORT: 'http' }), /"http"/);
  assert.throws(() => settings({ PORT: '70000' }), /"70000"/);
});

test('the API address loses its trailing slash', () => {
  assert.equal(settings({ API_URL: 'http://api:8080/' }).apiUrl, 'http://api:8080');
});

test('the health route answers, other routes do not', async () => {
  const health = await serveHealth(0, () => ({ claimed: 3 }));
  try {
    const ok = await fetch(`http://127.0.0.1:${health.port}/healthz`);
    assert.deepEqual([ok.status, await ok.json()], [200, { status: 'ok', claimed: 3 }]);
    assert.equal((await fetch(`http://127.0.0.1:${health.port}/`)).status, 404);
  } finally {
    await health.close();
  }
});
