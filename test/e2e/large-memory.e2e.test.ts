// Memory that is sent ahead of a move while the program runs, and given back to it while it runs again:
// nothing of it may be lost, old or zero, whatever the program does meanwhile.
import { constants } from 'node:os';
import { connect, type Ssi } from '@ssi/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { program, value } from '../harness/busy.ts';
import { canRunNative, startCluster, type TestCluster } from '../harness/cluster.ts';
import { linesOf, type MemoryPrograms, memoryPrograms } from '../harness/memory-program.ts';
import { waitUntil } from '../harness/wait-until.ts';

describe.skipIf(!canRunNative)('end to end: large memory', () => {
  let cluster: TestCluster;
  let ssi: Ssi;
  let programs: MemoryPrograms;
  beforeAll(async () => {
    cluster = await startCluster();
    ssi = value(await connect({ cluster: cluster.name }));
    programs = memoryPrograms(ssi);
  });
  afterAll(async () => {
    programs?.close();
    await ssi?.close();
    await cluster?.stop();
  });

  test('48 MB, 3,000 pages written a second, moved again at once: every write is found', {
    timeout: 120_000,
  }, async () => {
    const writing = await programs.start(48, 3_000);
    for (let i = 0; i < 6; i++) {
      const moved = value(await ssi.migrate(writing.pid, ((i + 1) % 3) + 1));
      expect(moved.bytes).toBeGreaterThan(48 << 20);
    }
    await writing.check();
    await writing.end();
  });

  test('its trace names what was sent ahead', async () => {
    const still = await programs.start(40);
    const { traceId } = value(await ssi.migrate(still.pid, 2));
    const shown = await cluster.ssi('trace', traceId);
    expect(shown.stdout).toContain('ahead');
    await still.end();
  });

  test('a program that forks, drops and remaps memory while some is still to come', {
    timeout: 120_000,
  }, async () => {
    const file = `${programs.dir}/forking`;
    const { pid } = value(
      await ssi.run({
        argv: ['/usr/bin/python3', program('forking.py'), file, '64'],
        env: { PATH: '/usr/bin:/bin' },
        ...{ cwd: '/', node: 1, noInput: true },
      }),
    );
    await waitUntil('it forks', () => linesOf(file).length > 2, 60_000);
    for (let i = 0; i < 6; i++) {
      const before = linesOf(file).length;
      value(await ssi.migrate(pid, ((i + 1) % 3) + 1));
      await waitUntil('it goes on forking', () => linesOf(file).length > before + 2, 30_000);
    }
    const said = linesOf(file).map((line) => line.split(' '));
    expect(said.filter(([word]) => word !== 'ok')).toEqual([]);
    expect(new Set(said.map(([, , sum]) => sum)).size).toBe(1);
    value(await ssi.kill(pid, constants.signals.SIGKILL));
    value(await ssi.wait(pid));
  });

  test('post-copy: runs before its memory is there, which is whole in the end', {
    timeout: 120_000,
  }, async () => {
    const writing = await programs.start(128, 3_000);
    let traceId = '';
    for (let i = 0; i < 3; i++) {
      const moved = value(await ssi.migrate(writing.pid, ((i + 1) % 3) + 1, { postCopy: true }));
      traceId = moved.traceId;
    }
    await writing.check();
    expect((await cluster.ssi('trace', traceId)).stdout).toContain('post-copy');
    await writing.end();
  });
});
