// Actors on the whole cluster, all services of three nodes on one virtual clock: they count each event
// once and in order, keep the time their timers had left, and are there exactly once, whatever is killed
// while they move. The seed is printed; it replays the run.

import { createEmbeddedCluster, type EmbeddedCluster } from '@ssi/cli';
import { type ActorHost, type ActorRef, defineActor, type Ssi } from '@ssi/client';
import { seededRandom } from '@ssi/ports';
import { SimClock } from '@ssi/sim';
import { type FailpointName, failpoints } from '@ssi/vproc';
import { afterEach, expect, test } from 'vitest';
import { notes } from '../programs/notes-actor.ts';

class World {
  readonly clock = new SimClock();
  readonly rangAt: { node: number; atMs: number }[] = [];
  /** Points at which a vproc dies, and at which something else happens first. */
  readonly traps = new Map<string, () => void>();
  readonly hooks = new Map<string, () => Promise<void>>();
  readonly hosts = new Map<number, ActorHost>();
  cluster!: EmbeddedCluster;
  private readonly seed: number;

  constructor(seed: number) {
    this.seed = seed;
    console.log(`seed ${seed}`);
  }

  async start(hosts: readonly number[] = [1, 2, 3]): Promise<this> {
    this.cluster = await this.result(
      createEmbeddedCluster({
        nodes: 3,
        clock: this.clock,
        random: seededRandom(this.seed),
        failpoint: (node) => async (name) => {
          await this.hooks.get(`${node} ${name}`)?.();
          const trap = this.traps.get(`${node} ${name}`);
          if (!trap) return;
          this.traps.delete(`${node} ${name}`);
          trap();
          // The service that got here is dead: nothing after this point happens.
          await new Promise(() => {});
        },
      }),
    );
    expect(await this.result(this.cluster.up(20_000))).toMatchObject({ ok: true });
    for (const node of hosts) await this.host(node);
    return this;
  }

  async host(node: number): Promise<void> {
    const host = await this.result(
      this.cluster.ssi.host({
        node,
        actors: [notes],
        effects: {
          notes: {
            rang: (_, self) => void this.rangAt.push({ node: self.node, atMs: this.clock.nowMs() }),
          },
        },
      }),
    );
    if (!host.ok) throw new Error(`${host.errno} ${host.detail}`);
    this.hosts.set(node, host.value);
    await this.pass(200);
  }

  /** Time goes on until it settles. */
  async result<T>(work: Promise<T>, deadlineMs = 120_000): Promise<T> {
    let settled = false;
    void work.then(
      () => {
        settled = true;
      },
      () => {
        settled = true;
      },
    );
    const endMs = this.clock.nowMs() + deadlineMs;
    while (!settled) {
      expect(this.clock.nowMs(), 'it never ended').toBeLessThan(endMs);
      await this.pass(5);
    }
    return work;
  }
  pass(ms: number): Promise<void> {
    return this.clock.run(this.clock.nowMs() + ms);
  }

  async spawn(node: number): Promise<ActorRef<typeof notes>> {
    const reply = await this.result(this.cluster.ssi.spawn(notes, { node }));
    if (!reply.ok) throw new Error(`${reply.errno} ${reply.detail}`);
    return reply.value;
  }
  async ask<T>(ref: ActorRef<typeof notes>, event: Parameters<Ssi['ask']>[1]): Promise<T> {
    const reply = await this.result(this.cluster.ssi.ask(ref, event as { type: 'tell' }));
    if (!reply.ok) throw new Error(`${reply.errno} ${reply.detail}`);
    return reply.value as T;
  }
  async nodeOf(pid: number): Promise<number> {
    const where = await this.result(this.cluster.ssi.where(pid));
    if (!where.ok) throw new Error(`${where.errno} ${where.detail}`);
    return where.value.node;
  }
}

let world: World;
afterEach(async () => {
  await world.result(world.cluster.close());
});

test('actors: a timer fires when its remaining time is over, on whatever node it is then', async () => {
  world = await new World(11).start();
  const ref = await world.spawn(1);
  const startMs = world.clock.nowMs();
  await world.result(world.cluster.ssi.send(ref, { type: 'ring', afterMs: 5_000 }));
  let frozenMs = 0;
  for (const to of [2, 3, 1, 3]) {
    await world.pass(500);
    const moved = await world.result(world.cluster.ssi.migrate(ref.pid, to));
    expect(moved).toMatchObject({ ok: true });
    if (moved.ok) frozenMs += moved.value.freezeMs;
  }
  expect(world.rangAt).toEqual([]);
  await world.pass(6_000);
  expect(world.rangAt).toHaveLength(1);
  const rang = world.rangAt[0];
  expect(rang?.node).toBe(3);
  // Not before its time, and later only by the time in which no copy ran.
  const lateMs = (rang?.atMs ?? 0) - startMs - 5_000;
  expect(lateMs).toBeGreaterThanOrEqual(0);
  expect(lateMs).toBeLessThanOrEqual(frozenMs + 10);
  expect(await world.ask(ref, { type: 'tell' })).toMatchObject({ rang: 1 });
});

test('actors: three senders, 200 moves: each event once, each sender in order, none lost', async () => {
  world = await new World(12).start();
  const { cluster } = world;
  const ref = await world.spawn(1);
  const senders = [cluster.ssi, await cluster.client(), await cluster.client()];
  const answers: unknown[] = [];
  let sent = 0;
  let moving = true;
  const send = async (ssi: Ssi, name: string): Promise<void> => {
    const pending: Promise<unknown>[] = [];
    for (let n = 0; moving; n++) {
      const event = { type: 'note' as const, what: `${name}${n}` };
      sent++;
      pending.push(
        n % 3 === 0
          ? ssi.send(ref, event)
          : ssi.ask(ref, event).then((r) => answers.push(r.ok ? r.value : r.errno)),
      );
      await new Promise<void>((done) => {
        world.clock.after(3, done);
      });
    }
    await Promise.all(pending);
  };
  const work = senders.map((ssi, i) => send(ssi, 'abc'[i] ?? ''));
  for (let i = 0; i < 200; i++) {
    const moved = await world.result(cluster.ssi.migrate(ref.pid, [2, 3, 1][i % 3] ?? 1));
    expect(moved, `move ${i}`).toMatchObject({ ok: true });
  }
  moving = false;
  await world.result(Promise.all(work));
  const { seen } = await world.ask<{ seen: string[] }>(ref, { type: 'tell' });
  expect(sent).toBeGreaterThan(600);
  expect(seen).toHaveLength(sent);
  expect(new Set(seen).size).toBe(sent);
  for (const name of 'abc') {
    const own = seen.filter((s) => s.startsWith(name));
    expect(own).toEqual(own.map((_, i) => `${name}${i}`));
  }
  // An answer is what the step said that took the event: no two the same, none made up.
  expect(answers.filter((a) => typeof a !== 'number')).toEqual([]);
  expect(new Set(answers).size).toBe(answers.length);
});

test('actors: services of a node die and start again: hosts register, actors go on with all they know', async () => {
  world = await new World(13).start();
  const { cluster } = world;
  const ref = await world.spawn(2);
  for (const [i, service] of (['vproc', 'ics-router', 'membership'] as const).entries()) {
    await world.ask(ref, { type: 'note', what: `before ${service}` });
    await world.result(cluster.killService(2, service));
    // Asked while it is away: membership's word is missing for a while, nothing else.
    const asked = cluster.ssi.ask(ref, { type: 'note', what: `without ${service}` });
    await world.pass(400);
    await world.result(cluster.startService(2, service));
    expect(await world.result(asked)).toEqual({ ok: true, value: 2 * i + 2 });
    expect(await world.nodeOf(ref.pid)).toBe(2);
  }
  await world.pass(3_000);
  const moved = await world.result(cluster.ssi.migrate(ref.pid, 3));
  expect(moved).toMatchObject({ ok: true });
  expect(await world.ask<{ seen: string[] }>(ref, { type: 'tell' })).toMatchObject({
    seen: expect.arrayContaining(['before vproc', 'without membership']),
  });
  const ps = await world.result(cluster.ssi.ps());
  expect(ps).toMatchObject({
    ok: true,
    value: { processes: [{ pid: ref.pid, kind: 'actor', node: 3, command: 'notes', hop: 1 }] },
  });
});

const points = failpoints.filter((p) => p.startsWith('move.'));
for (const point of points) {
  // A rolled-back move is allowed, a lost or doubled actor is not.
  const sides = point.startsWith('move.source') ? [1] : [2];
  for (const node of sides)
    test(`actors: vproc of node ${node} dies at ${point}: one actor, no event lost or doubled`, async () => {
      world = await new World(100 + points.indexOf(point)).start();
      const { cluster } = world;
      const ref = await world.spawn(1);
      await world.ask(ref, { type: 'note', what: '0' });
      // Only a move that fails comes there: the target's host is gone when the image has arrived.
      if (['rollback', 'aborting', 'destroying'].some((w) => point.endsWith(w)))
        world.hooks.set('2 move.target.received', async () => world.hosts.get(2)?.close());
      let hit = false;
      world.traps.set(`${node} ${point satisfies FailpointName}`, () => {
        hit = true;
        void cluster.killService(node, 'vproc').then(async () => {
          await new Promise<void>((done) => {
            world.clock.after(300, done);
          });
          await cluster.startService(node, 'vproc');
        });
      });
      const moved = cluster.ssi.migrate(ref.pid, 2);
      await world.pass(2);
      const asked = [1, 2, 3].map((n) =>
        cluster.ssi.ask(ref, { type: 'note', what: String(n) }, { timeoutMs: 60_000 }),
      );
      await world.result(Promise.all([moved, ...asked]));
      await world.pass(5_000);
      const { seen } = await world.ask<{ seen: string[] }>(ref, { type: 'tell' });
      expect(seen).toEqual(['0', '1', '2', '3']);
      const ps = await world.result(cluster.ssi.ps());
      expect(ps.ok && ps.value.processes.filter((p) => p.pid === ref.pid)).toHaveLength(1);
      expect(hit, `${point} was reached`).toBe(true);
    });
}

test('actors: its node dies: wait says EHOSTDOWN, an ask ends, and other actors go on', async () => {
  world = await new World(14).start();
  const { cluster } = world;
  const gone = await world.spawn(1);
  const emigrant = await world.spawn(1);
  expect(await world.result(cluster.ssi.migrate(emigrant.pid, 2))).toMatchObject({ ok: true });
  await world.ask(emigrant, { type: 'note', what: 'here' });
  const waited = cluster.ssi.wait(gone.pid);
  await world.result(cluster.killNode(1));
  const asked = cluster.ssi.ask(gone, { type: 'tell' }, { timeoutMs: 30_000 });
  expect(await world.result(waited)).toMatchObject({
    ok: true,
    value: { pid: gone.pid, signal: 'SIGKILL', reason: 'EHOSTDOWN' },
  });
  const answer = await world.result(asked);
  expect(answer.ok ? 'ok' : answer.errno).toMatch(/EHOSTDOWN|ESRCH/);
  expect(await world.ask(emigrant, { type: 'note', what: 'still here' })).toBe(2);
});

test('actors: EKIND: a node whose host has no such type is no target; EHOSTUNREACH: no host, no start', async () => {
  world = await new World(15).start([1, 2]);
  const { cluster } = world;
  const ref = await world.spawn(1);
  const moved = await world.result(cluster.ssi.migrate(ref.pid, 3));
  expect(moved).toMatchObject({ ok: false, errno: 'EOPNOTSUPP' });
  expect(moved.ok ? '' : moved.detail).toContain('EKIND');
  expect(await world.result(cluster.ssi.whyNot(ref.pid, { to: 3 }))).toMatchObject({
    ok: true,
    value: { movable: false, reasons: [{ code: 'EKIND' }] },
  });
  expect(await world.result(cluster.ssi.spawn(notes, { node: 3 }))).toMatchObject({
    ok: false,
    errno: 'EHOSTUNREACH',
  });
  const other = defineActor({ type: 'other', machine: notes.machine });
  expect(await world.result(cluster.ssi.spawn(other, { node: 1 }))).toMatchObject({
    ok: false,
    errno: 'ENOENT',
  });
  expect(await world.ask(ref, { type: 'note', what: 'x' })).toBe(1);
});

test('actors: rfork: state and timers are copied, the mailbox is not; where it cannot go, nothing is left', async () => {
  world = await new World(18).start([1, 2]);
  const { ssi } = world.cluster;
  const ref = await world.spawn(1);
  await world.ask(ref, { type: 'note', what: 'before' });
  const startMs = world.clock.nowMs();
  await world.result(ssi.send(ref, { type: 'ring', afterMs: 3_000 }));
  await world.pass(1_000);
  await world.result(ssi.kill(ref.pid, 19));
  await world.result(ssi.send(ref, { type: 'note', what: 'waits' }));
  const forked = await world.result(ssi.rfork(ref, 2));
  if (!forked.ok) throw new Error(forked.detail);
  await world.result(ssi.kill(ref.pid, 18));
  expect(await world.nodeOf(forked.value.pid)).toBe(2);
  expect(await world.ask(forked.value, { type: 'tell' })).toMatchObject({ seen: ['before'] });
  expect(await world.ask(ref, { type: 'tell' })).toMatchObject({ seen: ['before', 'waits'] });
  await world.pass(4_000);
  expect(world.rangAt.map((r) => r.node).sort()).toEqual([1, 2]);
  for (const { atMs } of world.rangAt) expect(atMs - startMs).toBeGreaterThanOrEqual(3_000);
  const refused = await world.result(ssi.rfork(ref, 3));
  expect(refused).toMatchObject({ ok: false, errno: 'EOPNOTSUPP' });
  expect(refused.ok ? '' : refused.detail).toContain('EKIND');
  await world.pass(2_000);
  const ps = await world.result(ssi.ps());
  const pids = ps.ok ? ps.value.processes.map((p) => p.pid).sort() : [];
  expect(pids).toEqual([ref.pid, forked.value.pid].sort());
  expect(
    world.hosts
      .get(1)
      ?.actors()
      .map((a) => a.pid),
  ).toEqual([ref.pid]);
});

test('actors: SIGSTOP keeps its mailbox, also over a move; SIGCONT takes it up; SIGTERM and the final state end it', async () => {
  world = await new World(16).start();
  const { cluster } = world;
  const ref = await world.spawn(1);
  expect(await world.result(cluster.ssi.kill(ref.pid, 19))).toMatchObject({ ok: true });
  const sent = cluster.ssi.send(ref, { type: 'note', what: 'a' });
  expect(await world.result(sent)).toMatchObject({ ok: true });
  const asked = cluster.ssi.ask(ref, { type: 'note', what: 'b' }, { timeoutMs: 60_000 });
  await world.pass(300);
  expect(await world.result(cluster.ssi.migrate(ref.pid, 2))).toMatchObject({ ok: true });
  await world.pass(300);
  const ps = await world.result(cluster.ssi.ps());
  expect(ps).toMatchObject({ ok: true, value: { processes: [{ node: 2, state: 'stopped' }] } });
  expect(await world.result(cluster.ssi.kill(ref.pid, 18))).toMatchObject({ ok: true });
  expect(await world.result(asked)).toEqual({ ok: true, value: 2 });
  expect(await world.result(cluster.ssi.kill(ref.pid, 15))).toMatchObject({ ok: true });
  expect(await world.result(cluster.ssi.wait(ref.pid))).toMatchObject({
    ok: true,
    value: { code: null, signal: 'SIGTERM' },
  });
  const second = await world.spawn(3);
  await world.result(cluster.ssi.send(second, { type: 'end' }));
  expect(await world.result(cluster.ssi.wait(second.pid))).toMatchObject({
    ok: true,
    value: { code: 0, signal: null },
  });
  expect(await world.result(cluster.ssi.ask(second, { type: 'tell' }))).toMatchObject({
    ok: false,
    errno: 'ESRCH',
  });
});

test('actors: a host that dies takes its actors along: SIGKILL, and its successor starts with none', async () => {
  world = await new World(17).start([1, 2]);
  const { cluster } = world;
  const host = await world.result(cluster.ssi.host({ node: 3, actors: [notes] }));
  await world.pass(200);
  const ref = await world.spawn(3);
  const waited = cluster.ssi.wait(ref.pid);
  if (host.ok) await world.result(host.value.close());
  expect(await world.result(waited)).toMatchObject({ ok: true, value: { signal: 'SIGKILL' } });
  await world.host(3);
  expect(await world.ask(await world.spawn(3), { type: 'note', what: 'x' })).toBe(1);
});
