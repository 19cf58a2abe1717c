import assert from 'node:assert/strict';
import { test } from 'node:test';
import { JobList } from '@monorepo/contract';
import { logger } from '@monorepo/service';
import { server } from './server.js';

test('a job goes from the queue through a worker to the list', async () => {
  const app = server(logger('api', 'silent'));
  const post = (url: string, payload: object) => app.inject({ method: 'POST', url, payload });

  assert.equal((await post('/jobs', { kind: 'count', input: 'a b' })).statusCode, 201);
  assert.equal((await post('/jobs/claim', { worker: 'w1' })).json().id, 1);
  assert.equal((await post('/jobs/claim', { worker: 'w1' })).statusCode, 204);
  assert.equal((await post('/jobs/1/outcome', { status: 'done', output: '2 words' })).statusCode, 200);

  const { jobs } = JobList.parse((await app.inject('/jobs')).json());
  assert.deepEqual([jobs[0]?.status, jobs[0]?.worker, jobs[0]?.output], ['done', 'w1', '2 words']);
});

test('what the contract does not allow is refused', async () => {
  const app = server(logger('api', 'silent'));
  const post = (url: string, payload: object) => app.inject({ method: 'POST', url, payload });

  assert.equal((await post('/jobs', { input: 'no kind' })).statusCode, 400);
  assert.equal((await post('/jobs/7/outcome', { status: 'done', output: '' })).statusCode, 409);
});
