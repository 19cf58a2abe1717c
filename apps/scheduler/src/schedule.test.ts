import assert from 'node:assert/strict';
import { test } from 'node:test';
import { jobFor } from './schedule.js';

test('each kind has its turn, and the round begins again', () => {
  const at = new Date(0);
  const kinds = [0, 1, 2, 3].map((turn) => jobFor(turn, at).kind);
  assert.deepEqual(kinds, ['count', 'checksum', 'render', 'count']);
  assert.throws(() => jobFor(-1, at), RangeError);
});
