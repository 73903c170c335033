// A node stopped as a whole (SIGSTOP of everything in it, its guard too) and nodes killed in the middle of
// a move: what was excluded never runs on, what is alive is one copy, and everybody knows what became of it.
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { connect, type Ssi } from '@ssi/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { program, startBusy, value } from '../harness/busy.ts';
import { canRunNative, startCluster, type TestCluster, waitForStates } from '../harness/cluster.ts';
import { markedTasks, runningCopies } from '../harness/host-proc.ts';
import { waitUntil } from '../harness/wait-until.ts';

/** What a stopped machine may still execute when it wakes, before its guard froze it. [design 6] */
const ranOnMaxMs = 50;

describe.skipIf(!canRunNative)('end to end: nodes that stop', { timeout: 90_000 }, () => {
  let cluster: TestCluster;
  let ssi: Ssi;
  beforeAll(async () => {
    cluster = await startCluster();
    ssi = value(await connect({ cluster: cluster.name }));
  }, 120_000);
  afterAll(async () => {
    await ssi?.close();
    await cluster?.stop();
  });

  const guardPid = (num: number): number => {
    const entry = cluster.file().nodes.find((n) => n.num === num);
    if (!entry) throw new Error(`no node ${num}`);
    return entry.pid;
  };
  /** Every process of the node's pid namespace, the guard first. */
  const processesOf = (num: number): number[] => {
    const guard = guardPid(num);
    const namespace = readlinkSync(`/proc/${guard}/ns/pid`);
    const found = readdirSync('/proc').flatMap((name) => {
      try {
        const isInside = /^\d+$/.test(name) && readlinkSync(`/proc/${name}/ns/pid`) === namespace;
        return isInside && Number(name) !== guard ? [Number(name)] : [];
      } catch {
        return []; // It ended meanwhile.
      }
    });
    return [guard, ...found];
  };
  const signalAll = (pids: readonly number[], signal: 'SIGSTOP' | 'SIGCONT'): void => {
    for (const pid of pids)
      try {
        process.kill(pid, signal);
      } catch {
        // It ended meanwhile.
      }
  };
  const boots = async () =>
    new Map(value(await ssi.nodes()).map((n) => [n.num, n.incarnation.bootCount]));
  const slave = async () => value(await ssi.nodes()).find((n) => !n.isMaster)?.num ?? 1;
  const allUp = () => waitForStates(cluster, { 1: 'UP', 2: 'UP', 3: 'UP' }, 30_000);

  test('a whole node stopped past its lease: DOWN, its programs end with EHOSTDOWN and never run on', async () => {
    const victim = await slave();
    const boot = (await boots()).get(victim) ?? 0;
    const busy = await startBusy(ssi, victim);
    const dir = mkdtempSync(`${tmpdir()}/ssi-stops-`);
    const argv = ['/usr/bin/python3', program('ticks.py'), `${dir}/ticks`];
    const env = { PATH: '/usr/bin:/bin' };
    value(await ssi.run({ argv, env, cwd: '/', node: victim, noInput: true }));
    const ticks = () => readFileSync(`${dir}/ticks`, 'utf8').trim().split('\n').map(Number);
    await busy.more(50);
    await waitUntil('ticks', () => existsSync(`${dir}/ticks`) && ticks().length > 10, 10_000);
    const stopped = processesOf(victim);
    signalAll(stopped, 'SIGSTOP');
    let woken = 0;
    try {
      await waitForStates(cluster, { [victim]: 'DOWN' });
      const status = await ssi.wait(busy.pid);
      expect(value(status)).toMatchObject({ signal: 'SIGKILL', reason: 'EHOSTDOWN' });
    } finally {
      woken = Date.now();
      signalAll(stopped, 'SIGCONT');
    }
    await waitUntil('its copy is killed', () => markedTasks(busy.mark).length === 0, 10_000);
    const ranOn = ticks().filter((at) => at >= woken);
    const ranOnMs = ranOn.length > 0 ? Math.max(...ranOn) - Math.min(...ranOn) : 0;
    console.log(`an excluded node woken: its programs executed for ${ranOnMs.toFixed(1)} ms`);
    expect(ranOnMs).toBeLessThanOrEqual(ranOnMaxMs);
    rmSync(dir, { recursive: true });
    await allUp();
    expect((await boots()).get(victim)).toBeGreaterThan(boot);
    await busy.finish().catch(() => {});
  });

  test('the guard alone stopped past the lease: nobody freezes or dies, and it serves on', async () => {
    const victim = await slave();
    const before = await boots();
    const busy = await startBusy(ssi, victim);
    await busy.more(50);
    const guard = guardPid(victim);
    process.kill(guard, 'SIGSTOP');
    try {
      await busy.more(1_500, 30_000);
    } finally {
      process.kill(guard, 'SIGCONT');
    }
    await busy.more(100);
    await allUp();
    expect(await boots()).toEqual(before);
    await waitUntil(
      'a move',
      async () => (await ssi.migrate(busy.pid, victim === 1 ? 2 : 1)).ok,
      15_000,
    );
    await busy.finish();
    expect(busy.report().wrong).toEqual([]);
  });

  test('a node stopped for less than its lease: nothing happens', async () => {
    const victim = await slave();
    const before = await boots();
    const busy = await startBusy(ssi, victim);
    await busy.more(50);
    const stopped = processesOf(victim);
    signalAll(stopped, 'SIGSTOP');
    await new Promise((done) => setTimeout(done, 150)); // the fault's length, not a wait for something
    signalAll(stopped, 'SIGCONT');
    await busy.more(200);
    expect(await boots()).toEqual(before);
    await busy.finish();
    expect(busy.report().wrong).toEqual([]);
  });

  test.each(['source', 'target'] as const)(
    'node kill of the %s in the middle of a move',
    async (which) => {
      const master = value(await ssi.nodes()).find((n) => n.isMaster)?.num ?? 1;
      const [source = 0, target = 0] = [1, 2, 3].filter((n) => n !== master);
      const busy = await startBusy(ssi, source);
      await busy.more(50);
      const moving = ssi.migrate(busy.pid, target);
      // In the middle: criu stands over it, or a second copy is being made.
      await waitUntil(
        'the copy stands still',
        () => markedTasks(busy.mark).some((t) => /^[Tt]$/.test(t.state)),
        15_000,
      );
      const victim = which === 'source' ? source : target;
      expect((await cluster.ssi('node', 'kill', String(victim))).code).toBe(0);
      const reply = await moving;
      await waitForStates(cluster, { [victim]: 'DOWN' });
      const copies = await waitUntil(
        'one copy runs, or none',
        () => {
          const found = markedTasks(busy.mark).filter((t) => t.nsPid === busy.pid);
          return found.every((t) => !/^[Tt]$/.test(t.state)) && found;
        },
        15_000,
        cluster.describe,
      );
      expect(copies.length).toBeLessThanOrEqual(1);
      const survivor = victim === source ? target : source;
      if (copies.length === 1) {
        // It is on the side that lives, goes on where it was, and everybody knows.
        await waitUntil(
          'it is found where it is',
          async () => {
            const at = await ssi.where(busy.pid);
            return at.ok && at.value.node === survivor;
          },
          15_000,
          cluster.describe,
        );
        await busy.more(100, 20_000);
        expect(runningCopies(busy.mark, busy.pid)).toHaveLength(1);
        await busy.finish();
        expect(busy.report().wrong).toEqual([]);
      } else {
        expect(value(await ssi.wait(busy.pid))).toMatchObject({ reason: 'EHOSTDOWN' });
        await busy.finish().catch(() => {});
      }
      // A move that was answered with success is on the target; the dead target of a move loses nothing
      // that was not there yet.
      if (which === 'source' && reply.ok) expect(copies).toHaveLength(1);
      if (which === 'target' && !reply.ok && reply.errno === 'ECANCELED')
        expect(copies).toHaveLength(1);
      expect((await cluster.ssi('node', 'start', String(victim))).code).toBe(0);
      await allUp();
    },
  );
});
