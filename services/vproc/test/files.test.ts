// Move records in files: whole or not there.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'vitest';
import { linuxRecords } from '../src/adapters/files.linux.ts';

test('vproc: a record that cannot be written is told, and nothing of it is left', async () => {
  const root = mkdtempSync(`${tmpdir()}/ssi-records-`);
  try {
    const records = linuxRecords(root);
    const [one, other] = ['1'.repeat(32), '2'.repeat(32)];
    assert((await records.write(one, { phase: 'dumping' })).ok);
    // In its way, where root may write everywhere.
    mkdirSync(`${root}/${other}.json`);
    const written = await records.write(other, { phase: 'dumping' });
    assert(!written.ok && written.errno === 'EIO');
    assert.deepEqual(readdirSync(root).sort(), [`${one}.json`, `${other}.json`]);
    rmSync(`${root}/${other}.json`, { recursive: true });
    assert.deepEqual(await records.list(), {
      ok: true,
      value: [{ moveId: one, record: { phase: 'dumping' } }],
    });
  } finally {
    rmSync(root, { recursive: true });
  }
});
