// Memory that is sent ahead of a move while the program runs, and given back to it while it runs again:
// nothing of it may be lost, old or zero, whatever the program does meanwhile.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { connect, type Ssi } from '@ssi/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { program, value } from '../harness/busy.ts';
import { canRunNative, startCluster, type TestCluster } from '../harness/cluster.ts';
import { waitUntil } from '../harness/wait-until.ts';

describe.skipIf(!canRunNative)('end to end: large memory', () => {
  let cluster: TestCluster;
  let ssi: Ssi;
  const dir = mkdtempSync(`${tmpdir()}/ssi-large-`);
  const binary = `${dir}/memory`;
  beforeAll(async () => {
    execFileSync('gcc', ['-O2', '-pthread', '-o', binary, program('memory.c')]);
    cluster = await startCluster();
    const connected = await connect({ cluster: cluster.name });
    if (!connected.ok) throw new Error(connected.detail);
    ssi = connected.value;
  });
  afterAll(async () => {
    await ssi?.close();
    await cluster?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  const linesOf = (file: string): string[] => {
    try {
      return readFileSync(file, 'utf8').split('\n').filter(Boolean);
    } catch {
      return [];
    }
  };
  const run = async (argv: string[]): Promise<number> =>
    value(await ssi.run({ argv, env: { PATH: '/usr/bin:/bin' }, cwd: '/', node: 1, noInput: true }))
      .pid;
  const end = async (pid: number): Promise<void> => {
    value(await ssi.kill(pid, constants.signals.SIGKILL));
    value(await ssi.wait(pid));
  };

  test('48 MB, 3,000 pages written a second, moved again at once: every write is found', {
    timeout: 120_000,
  }, async () => {
    const file = `${dir}/writing`;
    const pid = await run([binary, '48', file, '3000']);
    const sums = () => linesOf(file).filter((line) => line.startsWith('sum'));
    await waitUntil('it is filled', () => sums().length > 0, 60_000);
    for (let i = 0; i < 6; i++) {
      const moved = value(await ssi.migrate(pid, ((i + 1) % 3) + 1));
      expect(moved.bytes).toBeGreaterThan(48 << 20);
    }
    const before = sums().length;
    value(await ssi.kill(pid, constants.signals.SIGUSR1));
    await waitUntil('its sum', () => sums().length > before, 30_000);
    const [, , , written, , found] = sums().at(-1)?.split(' ') ?? [];
    expect(Number(written)).toBeGreaterThan(0);
    expect(found).toBe(written);
    await end(pid);
  });

  test('its trace names what was sent ahead', async () => {
    const pid = await run([binary, '40', `${dir}/traced`]);
    await waitUntil('it is filled', () => linesOf(`${dir}/traced`).length > 0, 60_000);
    const { traceId } = value(await ssi.migrate(pid, 2));
    const shown = await cluster.ssi('trace', traceId);
    expect(shown.stdout).toContain('ahead');
    await end(pid);
  });

  test('a program that forks, drops and remaps memory while some is still to come', {
    timeout: 120_000,
  }, async () => {
    const file = `${dir}/forking`;
    const pid = await run(['/usr/bin/python3', program('forking.py'), file, '64']);
    await waitUntil('it forks', () => linesOf(file).length > 2, 60_000);
    for (let i = 0; i < 6; i++) {
      const before = linesOf(file).length;
      value(await ssi.migrate(pid, ((i + 1) % 3) + 1));
      await waitUntil('it goes on forking', () => linesOf(file).length > before + 2, 30_000);
    }
    const said = linesOf(file).map((line) => line.split(' '));
    expect(said.filter(([word]) => word !== 'ok')).toEqual([]);
    expect(new Set(said.map(([, , sum]) => sum)).size).toBe(1);
    await end(pid);
  });

  test('post-copy: runs before its memory is there, which is whole in the end', {
    timeout: 120_000,
  }, async () => {
    const file = `${dir}/post-copy`;
    const pid = await run([binary, '128', file, '3000']);
    const sums = () => linesOf(file).filter((line) => line.startsWith('sum'));
    await waitUntil('it is filled', () => sums().length > 0, 60_000);
    let traceId = '';
    for (let i = 0; i < 3; i++) {
      const moved = value(await ssi.migrate(pid, ((i + 1) % 3) + 1, { postCopy: true }));
      traceId = moved.traceId;
    }
    value(await ssi.kill(pid, constants.signals.SIGUSR1));
    await waitUntil('its sum', () => sums().length > 1, 30_000);
    const [, , , written, , found] = sums().at(-1)?.split(' ') ?? [];
    expect(Number(written)).toBeGreaterThan(0);
    expect(found).toBe(written);
    expect((await cluster.ssi('trace', traceId)).stdout).toContain('post-copy');
    await end(pid);
  });
});
