import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NewJob, Outcome } from './index.js';

test('a job without a kind is refused', () => {
  assert.equal(NewJob.safeParse({ kind: '', input: 'x' }).success, false);
  assert.equal(NewJob.safeParse({ kind: 'count', input: 'x' }).success, true);
});

test('an outcome says either an output or an error', () => {
  assert.equal(Outcome.safeParse({ status: 'done', output: '1' }).success, true);
  assert.equal(Outcome.safeParse({ status: 'failed', output: '1' }).success, false);
  assert.equal(Outcome.safeParse({ status: 'queued' }).success, false);
});
