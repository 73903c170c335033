import {
  clusternodeAvail,
  clusternodeInfo,
  clusternodeNum,
  createSsi,
  kill3,
  leastLoaded,
} from '@ssi/client';
import { fail, type OriginEntry, ok, originOf, type ProcessInfo } from '@ssi/contracts';
import { describe, expect, test } from 'vitest';
import { fakeCluster, viewOf } from './fake-cluster.ts';

const pid = 65_601; // of node 1's range
const up3 = () => viewOf(5, { 1: 'UP', 2: 'UP', 3: 'UP' });

const entry = (node: number, more: Partial<OriginEntry> = {}): OriginEntry => ({
  pid,
  ppid: 0,
  pgid: pid,
  sid: pid,
  tids: [],
  kind: 'native',
  node,
  hop: 0,
  phase: 'live',
  ...more,
});

const processOf = (num: number, node: number, more: Partial<ProcessInfo> = {}): ProcessInfo => ({
  pid: num,
  ppid: 0,
  pgid: num,
  sid: num,
  node,
  origin: 1,
  state: 'sleeping',
  kind: 'native',
  command: 'sleep',
  uid: 0,
  threads: 1,
  rssBytes: 0,
  cpuMs: 0,
  hop: 0,
  ...more,
});

const start = async (view = up3()) => {
  const cluster = await fakeCluster(view);
  return { cluster, ssi: createSsi(cluster.link) };
};

describe('client: where a call goes', () => {
  test('to the origin: the node of the range, and only there', async () => {
    const { cluster, ssi } = await start();
    cluster.handlers['vproc.where'] = () => ok({ entry: entry(3) });
    expect(await ssi.where(pid)).toMatchObject({ ok: true, value: { node: 3 } });
    expect(cluster.asked).toEqual(['clms.members@1', 'vproc.where@1']);
  });

  test('to the surrogate when that node is not UP: the same one for everybody', async () => {
    const view = viewOf(6, { 1: 'DOWN', 2: 'UP', 3: 'UP' });
    const { cluster, ssi } = await start(view);
    cluster.handlers['vproc.where'] = () => ok({ entry: entry(2) });
    await ssi.where(pid);
    const surrogate = originOf(view, pid);
    expect([2, 3]).toContain(surrogate);
    expect(cluster.asked.at(-1)).toBe(`vproc.where@${surrogate}`);
  });

  test("ESRCH without asking anybody: a pid of no node's range", async () => {
    const { cluster, ssi } = await start();
    expect(await ssi.where(300)).toMatchObject({ ok: false, errno: 'ESRCH' });
    expect(cluster.asked).toEqual(['clms.members@1']);
  });

  test('EREMCHG is followed', async () => {
    const { cluster, ssi } = await start();
    cluster.handlers['vproc.where'] = (_r, at) =>
      at === 1 ? fail('EREMCHG', 'ask 2', 2) : ok({ entry: entry(2) });
    expect(await ssi.where(pid)).toMatchObject({ ok: true });
    expect(cluster.asked.slice(1)).toEqual(['vproc.where@1', 'vproc.where@2']);
  });

  test('two nodes that point at each other: EREMCHG after a bounded number of hops', async () => {
    const { cluster, ssi } = await start();
    cluster.handlers['vproc.where'] = (_r, at) => fail('EREMCHG', 'not me', at === 1 ? 2 : 1);
    expect(await ssi.where(pid)).toMatchObject({ ok: false, errno: 'EREMCHG' });
    expect(cluster.asked.length).toBeLessThan(12);
  });

  test('EHOSTDOWN: the view is read again and the surrogate asked', async () => {
    const { cluster, ssi } = await start();
    cluster.handlers['vproc.where'] = (_r, at) => {
      if (at !== 1) return ok({ entry: entry(2) });
      cluster.view = viewOf(6, { 1: 'DOWN', 2: 'UP', 3: 'UP' });
      cluster.unreachable.add(1);
      return fail('EHOSTDOWN', 'node 1 is down');
    };
    expect(await ssi.where(pid)).toMatchObject({ ok: true });
    expect(cluster.taken.at(-1)).toBe(6);
  });

  test('an origin that hangs is not waited for to the end: the surrogate is asked in time', async () => {
    const { cluster, ssi } = await start();
    cluster.handlers['vproc.where'] = (_r, at) => {
      if (at !== 1) return ok({ entry: entry(2) });
      cluster.view = viewOf(6, { 1: 'DOWN', 2: 'UP', 3: 'UP' });
      return new Promise(() => {});
    };
    expect(await ssi.where(pid)).toMatchObject({ ok: true });
  });

  test('a node that came up just now is not refused by an old view', async () => {
    const { cluster, ssi } = await start(viewOf(5, { 1: 'UP', 2: 'DOWN' }));
    await ssi.view();
    await new Promise<void>((done) => cluster.link.clock.after(500, done));
    cluster.view = viewOf(6, { 1: 'UP', 2: 'UP' });
    cluster.handlers['vproc.run'] = (_r, at) => ok({ pid: at * 65_536 + 7 });
    expect(await ssi.run({ argv: ['true'], env: {}, cwd: '/', node: 2 })).toMatchObject({
      ok: true,
    });
  });

  test('a node that is behind never takes the client back to an older view', async () => {
    const { cluster, ssi } = await start();
    cluster.handlers['vproc.where'] = () => ok({ entry: entry(2) });
    await ssi.where(pid);
    cluster.view = viewOf(4, { 1: 'UP' });
    await new Promise<void>((done) => cluster.link.clock.after(200, done));
    expect(await ssi.view()).toMatchObject({ value: { transid: 5 } });
  });

  test('no node answers: EHOSTUNREACH and what to do', async () => {
    const { cluster, ssi } = await start();
    for (const n of [1, 2, 3]) cluster.unreachable.add(n);
    expect(await ssi.ps()).toMatchObject({
      errno: 'EHOSTUNREACH',
      detail: expect.stringMatching(/ssi doctor/),
    });
  });
});

describe('client: what is repeated and what is not', () => {
  test('a signal that may have been delivered is not sent twice', async () => {
    const { cluster, ssi } = await start();
    cluster.handlers['vproc.signal'] = () => fail('EHOSTDOWN', 'gone');
    expect(await ssi.kill(pid, 10)).toMatchObject({ errno: 'EHOSTDOWN' });
    expect(cluster.asked.filter((a) => a.startsWith('vproc.signal'))).toHaveLength(1);
  });

  test('SIGKILL is: killing twice is the same as once', async () => {
    const { cluster, ssi } = await start();
    let tries = 0;
    cluster.handlers['vproc.signal'] = () =>
      ++tries < 3 ? fail('EHOSTDOWN', 'gone') : ok({ delivered: 1 });
    expect(await ssi.kill(pid, 9)).toEqual(ok({ delivered: 1 }));
  });

  test('a process group is asked for at the origin of its number', async () => {
    const { cluster, ssi } = await start();
    cluster.handlers['vproc.signal'] = (r: { pid: number }) =>
      ok({ delivered: r.pid === -pid ? 4 : 0 });
    expect(await ssi.kill(-pid, 15)).toEqual(ok({ delivered: 4 }));
    expect(cluster.asked.at(-1)).toBe('vproc.signal@1');
  });

  test('EAGAIN is waited out, and given back when it does not end', async () => {
    const { cluster, ssi } = await start();
    let tries = 0;
    cluster.handlers['vproc.where'] = () =>
      ++tries < 4 ? fail('EAGAIN', 'rebuilding') : ok({ entry: entry(1) });
    expect(await ssi.where(pid)).toMatchObject({ ok: true });
    cluster.handlers['vproc.where'] = () => fail('EAGAIN', 'for ever');
    expect(await ssi.where(pid)).toMatchObject({ errno: 'EAGAIN' });
  });
});

describe('client: processes', () => {
  test('migrate goes to where the process executes, in a trace of its own', async () => {
    const { cluster, ssi } = await start();
    cluster.handlers['vproc.where'] = () => ok({ entry: entry(2) });
    const moved = { pid, from: 2, to: 3, freezeMs: 40, bytes: 9, traceId: 'a'.repeat(32) };
    cluster.handlers['vproc.migrate'] = (_r, at) =>
      at === 2 ? ok(moved) : fail('EREMCHG', 'not here', 2);
    expect(await ssi.migrate(pid, 3)).toEqual(ok(moved));
    const traceId = cluster.traceparents.get('vproc.migrate')?.split('-')[1] ?? '';
    await ssi.close();
    const spans = await cluster.spans.readTrace(traceId);
    expect(spans.ok && spans.value.map((s) => [s.name, s.parentSpanId])).toEqual([
      ['ssi.migrate', null],
    ]);
  });

  test('migrate: EINVAL for a node that never was, EHOSTDOWN for one that is DOWN, nothing asked', async () => {
    const { cluster, ssi } = await start(viewOf(5, { 1: 'UP', 2: 'DOWN' }));
    expect(await ssi.migrate(pid, 9)).toMatchObject({ errno: 'EINVAL' });
    expect(await ssi.migrate(pid, 2)).toMatchObject({ errno: 'EHOSTDOWN' });
    expect(cluster.asked).toEqual(['clms.members@1']);
  });

  test('migrate is never repeated: a lost answer says where to look', async () => {
    const { cluster, ssi } = await start();
    cluster.handlers['vproc.where'] = () => ok({ entry: entry(1) });
    cluster.handlers['vproc.migrate'] = () => fail('ETIMEDOUT', 'no answer');
    expect(await ssi.migrate(pid, 2)).toMatchObject({
      errno: 'ETIMEDOUT',
      detail: expect.stringMatching(/ssi where/),
    });
    expect(cluster.asked.filter((a) => a.startsWith('vproc.migrate'))).toHaveLength(1);
  });

  test('ps shows everything once, and says which node did not answer', async () => {
    const { cluster, ssi } = await start();
    cluster.handlers['vproc.list'] = (_r, at) => {
      if (at === 3) return fail('ETIMEDOUT', 'no answer');
      const moving = processOf(pid, at, { hop: at });
      return ok({ processes: [processOf(131_100 + at, at), moving] });
    };
    const reply = await ssi.ps();
    expect(reply.ok && reply.value.processes.map((p) => [p.pid, p.node])).toEqual([
      [pid, 2],
      [131_101, 1],
      [131_102, 2],
    ]);
    expect(reply.ok && reply.value.silent).toEqual([{ node: 3, errno: 'ETIMEDOUT' }]);
  });

  test('run without a node: the least loaded; with one: that one or EHOSTDOWN', async () => {
    const { cluster, ssi } = await start(viewOf(5, { 1: 'UP', 2: 'UP', 3: 'DOWN' }));
    cluster.handlers['vproc.list'] = (_r, at) =>
      ok({ processes: at === 1 ? [processOf(pid, 1, { state: 'running' })] : [] });
    cluster.handlers['vproc.run'] = (_r, at) => ok({ pid: at * 65_536 + 7 });
    const request = { argv: ['true'], env: {}, cwd: '/' };
    expect(await ssi.run(request)).toEqual(ok({ pid: 131_079, node: 2 }));
    expect(await ssi.run({ ...request, node: 1 })).toEqual(ok({ pid: 65_543, node: 1 }));
    expect(await ssi.run({ ...request, node: 3 })).toMatchObject({ errno: 'EHOSTDOWN' });
  });

  test('load: ties go to the lowest number, nodes without programs are left out', () => {
    const lists = new Map([
      [1, []],
      [2, []],
    ]);
    expect(leastLoaded(up3(), lists, { native: true })).toBe(1);
    expect(leastLoaded(up3(), new Map(), { native: true })).toBeUndefined();
  });
});

describe('client: wait', () => {
  const status = { pid, code: 3, signal: null };

  test('the status is learned first and taken second', async () => {
    const { cluster, ssi } = await start();
    const reaps: boolean[] = [];
    cluster.handlers['vproc.wait'] = (r: { reap: boolean }) => {
      reaps.push(r.reap);
      return ok(status);
    };
    expect(await ssi.wait(pid)).toEqual(ok(status));
    expect(reaps).toEqual([false, true]);
  });

  test('ECHILD: somebody else took it', async () => {
    const { cluster, ssi } = await start();
    cluster.handlers['vproc.wait'] = (r: { reap: boolean }) =>
      r.reap ? fail('ECHILD', 'taken') : ok(status);
    expect(await ssi.wait(pid)).toMatchObject({ errno: 'ECHILD' });
    expect(await ssi.wait(pid, { reap: false })).toEqual(ok(status));
  });

  test('the origin dies while it waits: the surrogate tells', async () => {
    const { cluster, ssi } = await start();
    cluster.handlers['vproc.wait'] = (_r, at) => {
      if (at !== 1) return ok(status);
      cluster.view = viewOf(6, { 1: 'DOWN', 2: 'UP', 3: 'UP' });
      return fail('EHOSTDOWN', 'gone');
    };
    expect(await ssi.wait(pid)).toEqual(ok(status));
  });

  test('the origin dies without a word while it waits: seen in the view within seconds', async () => {
    const { cluster, ssi } = await start();
    cluster.handlers['vproc.wait'] = (_r, at) => (at === 1 ? new Promise(() => {}) : ok(status));
    const waiting = ssi.wait(pid);
    await new Promise<void>((done) => cluster.link.clock.after(5_000, done));
    const before = cluster.link.clock.nowMs();
    cluster.view = viewOf(6, { 1: 'DOWN', 2: 'UP', 3: 'UP' });
    cluster.unreachable.add(1);
    expect(await waiting).toEqual(ok(status));
    expect(cluster.link.clock.nowMs() - before).toBeLessThan(3_000);
  });

  test('it goes on waiting over many long polls, and stops at its own deadline', async () => {
    const { cluster, ssi } = await start();
    let polls = 0;
    cluster.handlers['vproc.wait'] = (r: { reap: boolean }) => {
      if (r.reap) return ok(status);
      return ++polls < 4 ? new Promise(() => {}) : ok(status);
    };
    expect(await ssi.wait(pid)).toEqual(ok(status));
    cluster.handlers['vproc.wait'] = () => new Promise(() => {});
    expect(await ssi.wait(pid, { timeoutMs: 90_000 })).toMatchObject({ errno: 'ETIMEDOUT' });
  });

  test('noHang: EAGAIN while it runs', async () => {
    const { cluster, ssi } = await start();
    cluster.handlers['vproc.wait'] = () => fail('EAGAIN', 'runs');
    expect(await ssi.wait(pid, { noHang: true })).toMatchObject({ errno: 'EAGAIN' });
    expect(cluster.asked.filter((a) => a.startsWith('vproc.wait'))).toHaveLength(1);
  });

  test('aborted: ECANCELED', async () => {
    const { cluster, ssi } = await start();
    cluster.handlers['vproc.wait'] = () => new Promise(() => {});
    const abort = new AbortController();
    const waiting = ssi.wait(pid, { signal: abort.signal });
    setImmediate(() => abort.abort());
    expect(await waiting).toMatchObject({ errno: 'ECANCELED' });
  });
});

describe('client: membership', () => {
  test('nodes: services of each node that answers, none of one that is DOWN', async () => {
    const { ssi } = await start(viewOf(5, { 1: 'UP', 2: 'DOWN' }));
    const reply = await ssi.nodes();
    expect(reply.ok && reply.value.map((n) => [n.num, n.state, n.services, n.answers])).toEqual([
      [1, 'UP', [{ name: 'vproc', state: 'serving' }], true],
      [2, 'DOWN', [], false],
    ]);
  });

  test('events: each transition once, with or without hints, from another node when one fails', async () => {
    const { cluster, ssi } = await start();
    const change = (transid: number) => ({
      transid,
      atMs: 0,
      num: transid,
      from: 'UP' as const,
      to: 'DOWN' as const,
      detail: '',
    });
    const history = [change(3), change(4)];
    cluster.handlers['clms.history'] = (r: { since: number }, at) =>
      at === 1
        ? fail('EAGAIN', 'not now')
        : ok({ events: history.filter((e) => e.transid >= r.since) });
    const abort = new AbortController();
    const seen: number[] = [];
    for await (const event of ssi.events({ signal: abort.signal })) {
      seen.push(event.transid);
      if (seen.length === 2) {
        history.push(change(5));
        cluster.hint();
      }
      if (seen.length === 3) history.push(change(6));
      if (seen.length === 4) abort.abort();
    }
    expect(seen).toEqual([3, 4, 5, 6]);
  });

  test("OpenSSI's names", async () => {
    const { cluster, ssi } = await start(viewOf(5, { 1: 'UP', 2: 'DOWN' }));
    expect(await clusternodeAvail(ssi, 2)).toEqual(ok(false));
    expect(await clusternodeInfo(ssi, 1)).toMatchObject({ value: { name: 'n1' } });
    expect(await clusternodeInfo(ssi, 8)).toMatchObject({ errno: 'ENOENT' });
    expect(clusternodeNum({ SSI_NODE: '3' })).toEqual(ok(3));
    expect(clusternodeNum({})).toMatchObject({ errno: 'ENOENT' });
    cluster.handlers['vproc.where'] = () => ok({ entry: entry(1) });
    cluster.handlers['vproc.signal'] = () => ok({ delivered: 1 });
    expect(await kill3(ssi, pid, 15, 2)).toMatchObject({ errno: 'ESRCH' });
    expect(await kill3(ssi, pid, 15, 1)).toEqual(ok({ delivered: 1 }));
  });
});
