// Faults on the real thing: services killed and stopped, the bus away, a node stopped as a whole. What
// runs must go on without a byte lost, or be frozen and killed by the book; never run twice.
import { connect, type Ssi } from '@ssi/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startBusy, value } from '../harness/busy.ts';
import { canRunNative, startCluster, type TestCluster, waitForStates } from '../harness/cluster.ts';
import { markedTasks, runningCopies } from '../harness/host-proc.ts';
import { waitUntil } from '../harness/wait-until.ts';

describe.skipIf(!canRunNative)('end to end: faults', { timeout: 90_000 }, () => {
  let cluster: TestCluster;
  let ssi: Ssi;
  beforeAll(async () => {
    cluster = await startCluster();
    ssi = value(await connect({ cluster: cluster.name }));
  });
  afterAll(async () => {
    await ssi?.close();
    await cluster?.stop();
  });
  const states = async () =>
    value(await ssi.nodes()).map((n) => `${n.num} ${n.state} ${n.incarnation.bootCount}`);

  test('every vproc killed with -9 under load: no program dies, no byte is lost, it moves as before', async () => {
    const busy = await startBusy(ssi, 1);
    await busy.more(200);
    for (let round = 0; round < 3; round++) {
      const old = [1, 2, 3].map((num) => cluster.servicePid(num, 'vproc'));
      for (const pid of old) process.kill(pid, 'SIGKILL');
      await busy.more(200, 20_000);
      for (const [i, pid] of old.entries())
        await waitUntil(
          `a new vproc on node ${i + 1}`,
          () => cluster.servicePid(i + 1, 'vproc') !== pid,
          10_000,
        );
    }
    const moved = await waitUntil(
      'a move after it',
      async () => {
        const reply = await ssi.migrate(busy.pid, 2);
        return reply.ok && reply.value;
      },
      15_000,
      cluster.describe,
    );
    expect(moved.to).toBe(2);
    await busy.more(100);
    const { sent, status } = await busy.finish();
    expect(busy.report().wrong).toEqual([]);
    expect(busy.report().done).toBe(sent);
    expect(status).toMatchObject({ code: 0 });
  });

  test('NATS stopped for 10 s: no process freezes or dies, no membership changes, output goes on', async () => {
    const busy = await startBusy(ssi, 2);
    await busy.more(100);
    const before = await states();
    const nats = cluster.file().processes.find((p) => p.name === 'nats-server');
    if (!nats) throw new Error('no nats-server');
    process.kill(nats.pid, 'SIGSTOP');
    try {
      const end = performance.now() + 10_000;
      while (performance.now() < end) await busy.more(100, 5_000);
    } finally {
      process.kill(nats.pid, 'SIGCONT');
    }
    await busy.more(100);
    expect(await states()).toEqual(before);
    const longest = Math.max(...busy.report().gaps.map((g) => g.ms));
    expect(longest).toBeLessThan(400);
    await busy.finish();
    expect(busy.report().wrong).toEqual([]);
  });

  test('vproc stopped for 3 s: programs run on, calls wait, nothing is lost', async () => {
    const busy = await startBusy(ssi, 3);
    await busy.more(100);
    const pid = cluster.servicePid(3, 'vproc');
    process.kill(pid, 'SIGSTOP');
    await new Promise((done) => setTimeout(done, 3_000)); // the fault's length, not a wait for something
    process.kill(pid, 'SIGCONT');
    await busy.more(200);
    expect((await states()).every((s) => s.includes('UP'))).toBe(true);
    await busy.finish();
    expect(busy.report().wrong).toEqual([]);
  });

  test('membership stopped past the lease: the node freezes, is excluded, its programs are killed, it joins anew', async () => {
    const victim = value(await ssi.nodes()).find((n) => !n.isMaster)?.num ?? 1;
    const boot = value(await ssi.nodes()).find((n) => n.num === victim)?.incarnation.bootCount ?? 0;
    const busy = await startBusy(ssi, victim);
    await busy.more(50);
    const pid = cluster.servicePid(victim, 'membership');
    process.kill(pid, 'SIGSTOP');
    await waitForStates(cluster, { [victim]: 'DOWN' });
    // Excluded: by now its programs must not run. A frozen process does not get any further.
    const atDown = busy.report().next.get('t0');
    process.kill(pid, 'SIGCONT');
    await waitUntil(
      'its programs are killed',
      () => markedTasks(busy.mark).length === 0,
      10_000,
      cluster.describe,
    );
    expect(busy.report().next.get('t0')).toBe(atDown);
    expect(value(await ssi.wait(busy.pid))).toMatchObject({
      signal: 'SIGKILL',
      reason: 'EHOSTDOWN',
    });
    await waitForStates(cluster, { 1: 'UP', 2: 'UP', 3: 'UP' });
    const after = value(await ssi.nodes()).find((n) => n.num === victim);
    expect(after?.incarnation.bootCount).toBeGreaterThan(boot);
    await busy.finish().catch(() => {});
  });

  test('the master is killed: another takes over, and everything works; SIGCLUSTER tells of it', async () => {
    const master = value(await ssi.nodes()).find((n) => n.isMaster)?.num ?? 1;
    const other = master === 1 ? 2 : 1;
    // It moved before it is told: the wish goes along.
    const told = async (): Promise<number> =>
      (await cluster.ssi('logs', String(asked.pid))).stdout.split('changed').length - 1;
    const script = 'trap "echo changed" USR2; echo ready; while :; do sleep 0.1; done';
    const wish = ['--node', String(other), '--sigcluster', 'USR2', '--detach', '--json'];
    const asked = await cluster.json<{ pid: number }>('run', ...wish, '--', 'sh', '-c', script);
    await waitUntil(
      'the program is ready',
      async () => (await cluster.ssi('logs', String(asked.pid))).stdout.includes('ready'),
      10_000,
    );
    const third = [1, 2, 3].find((n) => n !== master && n !== other) ?? 3;
    value(await ssi.migrate(asked.pid, third));
    expect(await told()).toBe(0);
    const busy = await startBusy(ssi, other);
    await busy.more(50);
    await cluster.ssi('node', 'kill', String(master));
    await waitForStates(cluster, { [master]: 'DOWN' });
    await waitUntil('SIGCLUSTER on the death', async () => (await told()) === 1, 10_000);
    await busy.more(100);
    expect(runningCopies(busy.mark, busy.pid)).toHaveLength(1);
    const back = await cluster.ssi('node', 'start', String(master));
    expect(back.code, back.stderr).toBe(0);
    await waitForStates(cluster, { 1: 'UP', 2: 'UP', 3: 'UP' });
    value(await ssi.kill(asked.pid, 9));
    let last: unknown;
    await waitUntil(
      'a move to it',
      async () => {
        const moved = await ssi.migrate(busy.pid, master);
        last = moved;
        return moved.ok;
      },
      15_000,
      async () => `${JSON.stringify(last)}\n${await cluster.describe()}`,
    );
    await busy.more(100);
    await busy.finish();
    expect(busy.report().wrong).toEqual([]);
  });
});
