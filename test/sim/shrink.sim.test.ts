// A failing run is cut down to faults of which none can go, and the same seed gives the same run in
// another process with other hash seeds, time zone and language.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import type { Fault } from './faults.ts';
import { run } from './pool.ts';
import { shownShrunk, shrink } from './shrink.ts';

const fault = (atMs: number, node: number, what: Fault['what']): Fault => ({
  atMs,
  forMs: 400,
  node,
  what,
});

test('Simulation: a failing run shrinks to the faults without which it holds', {
  timeout: 120_000,
}, async () => {
  const job = {
    seed: 1,
    faultyMs: 8_000,
    plant: 'stepsOutOfOrder',
    faults: [
      fault(3_500, 1, { kind: 'killService', service: 'dlm' }),
      fault(4_000, 2, { kind: 'failPort', op: 'criu.dump', times: 1 }),
      fault(5_000, 3, { kind: 'killNode' }),
      fault(5_200, 1, { kind: 'slowNode', ms: 20 }),
    ],
  } as const;
  const failed = await run(job);
  assert.equal(failed.checker, 'nodedown steps');
  const shrunk = await shrink(job, failed);
  expect(shrunk.job.faults?.map((f) => f.what.kind)).toEqual(['killNode']);
  assert.equal(shrunk.result.checker, 'nodedown steps');
  const text = shownShrunk(shrunk, 20);
  expect(text).toContain('"kind":"killNode"');
  expect(text).toContain('assert.equal(failure, undefined)');
});

test('Simulation: the same seed is the same run in another process', {
  timeout: 120_000,
}, async () => {
  const main = fileURLToPath(new URL('./main.ts', import.meta.url));
  const hash = async (flags: string[], env: Record<string, string>): Promise<string> => {
    const args = [...flags, main, '--seed', '7', '--seconds', '6'];
    const options = { env: { ...process.env, ...env } };
    const { stdout } = await promisify(execFile)(process.execPath, args, options);
    return /^hash (\S+)$/m.exec(stdout)?.[1] ?? `no hash in: ${stdout}`;
  };
  const one = await hash(['--hash-seed=1', '--random-seed=1'], { TZ: 'Asia/Tokyo' });
  const other = await hash(['--hash-seed=2', '--random-seed=2'], {
    TZ: 'UTC',
    LANG: 'tr_TR.UTF-8',
  });
  expect(one).toMatch(/^[0-9a-f]{16}-/);
  assert.equal(one, other);
});
