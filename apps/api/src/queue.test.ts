import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NotRunning, Queue } from './queue.js';

const job = { kind: 'count', input: 'a b' };

test('jobs are handed out oldest first, each once', () => {
  const queue = new Queue();
  queue.add(job);
  queue.add(job);
  assert.deepEqual([queue.claim('w')?.id, queue.claim('w')?.id, queue.claim('w')], [1, 2, undefined]);
});

test('a job whose worker went silent is handed out again', () => {
  let now = 0;
  const queue = new Queue(1_000, 100, () => now);
  queue.add(job);
  queue.claim('lost');
  assert.equal(queue.claim('other'), undefined);
  now = 1_000;
  assert.equal(queue.claim('other')?.worker, 'other');
});

test('a job is finished once', () => {
  const queue = new Queue();
  queue.add(job);
  queue.claim('w');
  assert.equal(queue.finish(1, { status: 'done', output: '2 words' }).status, 'done');
  assert.throws(() => queue.finish(1, { status: 'done', output: '2 words' }), NotRunning);
});

test('only the newest finished jobs are kept', () => {
  const queue = new Queue(1_000, 2);
  for (const id of [1, 2, 3]) {
    queue.add(job);
    queue.claim('w');
    queue.finish(id, { status: 'failed', error: 'no' });
  }
  assert.deepEqual(queue.list().map(({ id }) => id), [3, 2]);
});
