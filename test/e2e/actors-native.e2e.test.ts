// Actors on real nodes: their hosts are programs of the nodes, their pids are real numbers of the kernel,
// held by the guard, and they outlive the node that they were born on.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type ActorRef, connect, type Ssi } from '@ssi/client';
import { pidRange } from '@ssi/contracts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canRunNative, startCluster, type TestCluster, waitForStates } from '../harness/cluster.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { type Notes, notes } from '../programs/notes-actor.ts';

const program = fileURLToPath(new URL('../programs/actor-host.ts', import.meta.url));
type Ref = ActorRef<typeof notes>;

describe.skipIf(!canRunNative)('end to end: actors on real nodes', () => {
  let cluster: TestCluster;
  let ssi: Ssi;
  const hosts = new Map<number, number>();

  const startHost = async (node: number): Promise<void> => {
    const run = await ssi.run({
      argv: [process.execPath, program],
      env: {
        PATH: process.env.PATH ?? '/usr/bin:/bin',
        SSI_CLUSTER: cluster.name,
        SSI_NODE: String(node),
      },
      cwd: '/',
      node,
      noInput: true,
    });
    if (!run.ok) throw new Error(`${run.errno} ${run.detail}`);
    hosts.set(node, run.value.pid);
  };
  const spawn = (node: number): Promise<Ref> =>
    waitUntil(
      `node ${node} takes an actor`,
      async () => {
        const reply = await ssi.spawn(notes, { node });
        return reply.ok && reply.value;
      },
      20_000,
      cluster.describe,
    );
  const move = async (ref: Ref, to: number): Promise<void> => {
    let moved = await ssi.migrate(ref.pid, to);
    // A host announces itself once a second: a vproc that has just started may not have heard of it.
    await waitUntil(
      'the target knows its host',
      async () => {
        if (moved.ok || !moved.detail.includes('EKIND')) return true;
        moved = await ssi.migrate(ref.pid, to);
        return moved.ok;
      },
      5_000,
      cluster.describe,
    );
    if (!moved.ok) throw new Error(`to node ${to}: ${moved.errno} ${moved.detail}`);
  };
  /** Command of a pid as the node itself sees it; '' where the number is free. */
  const seenInside = async (node: number, pid: number): Promise<string> => {
    const guard = cluster.file().nodes.find((n) => n.num === node)?.pid ?? 0;
    try {
      return readFileSync(`/proc/${guard}/root/proc/${pid}/comm`, 'utf8').trim();
    } catch {
      return '';
    }
  };

  beforeAll(async () => {
    cluster = await startCluster();
    const connected = await connect({ cluster: cluster.name });
    if (!connected.ok) throw new Error(`${connected.errno} ${connected.detail}`);
    ssi = connected.value;
    for (const node of [1, 2, 3]) await startHost(node);
    const hosted = async (): Promise<boolean> => {
      const nodes = await ssi.nodes();
      return nodes.ok && nodes.value.every((n) => n.services.some((s) => s.name === 'actor'));
    };
    await waitUntil('a host on each node', hosted, 60_000, cluster.describe);
  }, 180_000);
  afterAll(async () => {
    await ssi?.close();
    await cluster?.stop();
  });

  test('its pid is a number of the node, held while it lives, at home and away, and free after its end', async () => {
    const ref = await spawn(1);
    const { low, high } = pidRange(1, 16);
    expect(ref.pid).toBeGreaterThanOrEqual(low);
    expect(ref.pid).toBeLessThanOrEqual(high);
    expect(await seenInside(1, ref.pid)).not.toBe('');
    for (const to of [2, 3, 1, 2]) {
      await move(ref, to);
      // The origin hears of the move right after it, and holds the number then.
      await waitUntil(
        `node 1 holds ${ref.pid}`,
        async () => (await seenInside(1, ref.pid)) !== '',
        2_000,
        cluster.describe,
      );
    }
    const ps = await ssi.ps();
    expect(ps.ok && ps.value.processes.find((p) => p.pid === ref.pid)).toMatchObject({
      kind: 'actor',
      node: 2,
      origin: 1,
      hop: 4,
    });
    const waited = ssi.wait(ref.pid, { timeoutMs: 20_000 });
    expect(await ssi.kill(ref.pid, 15)).toMatchObject({ ok: true });
    expect(await waited).toMatchObject({ ok: true, value: { signal: 'SIGTERM' } });
    await waitUntil(
      'the number is free',
      async () => (await seenInside(1, ref.pid)) === '',
      10_000,
      cluster.describe,
    );
  }, 60_000);

  test('vproc killed -9 under it: it is found again, keeps its number, and moves on', async () => {
    const ref = await spawn(2);
    await ssi.ask(ref, { type: 'note', what: 'a' });
    process.kill(cluster.servicePid(2, 'vproc'), 'SIGKILL');
    expect(await ssi.ask(ref, { type: 'note', what: 'b' })).toEqual({ ok: true, value: 2 });
    await waitUntil(
      'it moves',
      async () => (await ssi.migrate(ref.pid, 3)).ok,
      30_000,
      cluster.describe,
    );
    expect(await seenInside(2, ref.pid)).not.toBe('');
    expect(await ssi.ask(ref, { type: 'note', what: 'c' })).toEqual({ ok: true, value: 3 });
  }, 60_000);

  test('the node it was born on is killed: it goes on, and so does what was asked meanwhile', async () => {
    const ref = await spawn(1);
    await move(ref, 2);
    const doomed = await spawn(1);
    const waited = ssi.wait(doomed.pid, { timeoutMs: 40_000 });
    expect((await cluster.ssi('node', 'kill', '1')).code).toBe(0);
    expect(await ssi.ask(ref, { type: 'note', what: 'x' }, { timeoutMs: 30_000 })).toEqual({
      ok: true,
      value: 1,
    });
    expect(await waited).toMatchObject({ ok: true, value: { reason: 'EHOSTDOWN' } });
    await waitForStates(cluster, { 1: 'DOWN' });
    await move(ref, 3);
    const told = await ssi.ask(ref, { type: 'tell' });
    expect(told.ok && (told.value as Notes).seen).toEqual(['x']);
  }, 90_000);
});
