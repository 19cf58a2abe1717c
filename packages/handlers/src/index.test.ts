import assert from 'node:assert/strict';
import { test } from 'node:test';
import { run } from './index.js';

test('each kind of job does its work', async () => {
  assert.equal(await run('count', ' two  words '), '2 words');
  assert.equal(await run('render', '*hi*'), '<p><em>hi</em></p>\n');
  assert.equal(await run('checksum', ''), 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
});

test('an unknown kind fails and names the known ones', async () => {
  await assert.rejects(run('dance', ''), /no handler for "dance" \(known: count, checksum, render\)/);
});
