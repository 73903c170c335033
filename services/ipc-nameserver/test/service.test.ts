// IPC services of three nodes: names and calls from anywhere, deaths of nodes, nameservers and services.
import { ok } from '@ssi/contracts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { memoryStore } from '../src/index.ts';
import { type Client, Cluster, until } from './cluster.ts';

const text = (s: string): Uint8Array => new TextEncoder().encode(s);
const send = (s: string, type = 1) => ({ op: 'msgsnd' as const, type, text: text(s) });
const receive = { op: 'msgrcv' as const, size: 100, type: 0 };
const root = { uid: 0, gid: 0 };

let cluster: Cluster;
let [a, b, c]: Client[] = [];
const clientOf = (client: Client | undefined): Client => {
  if (!client) throw new Error('no such client');
  return client;
};

beforeEach(async () => {
  cluster = new Cluster();
  await cluster.start(1, 2, 3);
  [a, b, c] = await Promise.all([1, 2, 3].map((n) => cluster.client(n)));
});
afterEach(() => cluster.stop());
const one = (): Client => clientOf(a);
const two = (): Client => clientOf(b);
const three = (): Client => clientOf(c);

describe('IPC: names', () => {
  test('lookup or create is one call to the nameserver; using what is known is one call to its node', async () => {
    await until('all began', () => cluster.sent.filter((s) => s.includes('announce')).length >= 2);
    cluster.sent.length = 0;
    const id = await two().id('msg', '77');
    expect(cluster.sent).toEqual(['2 lookup 1']);
    expect(await three().id('msg', '77')).toBe(id);
    expect(cluster.sent).toEqual(['2 lookup 1', '3 lookup 1']);
    await two().call(id, send('here'));
    expect(cluster.sent).toHaveLength(2);
    await three().call(id, receive);
    expect(cluster.sent.slice(2)).toEqual(['3 operate 2']);
    await one().get('msg', '78');
    expect(cluster.sent).toHaveLength(3);
  });

  test('an id from elsewhere is asked for once, then its place is known', async () => {
    const id = await two().id('msg');
    cluster.sent.length = 0;
    await three().call(id, send('x'));
    await three().call(id, send('y'));
    expect(cluster.sent.filter((s) => s.startsWith('3'))).toEqual([
      ...['3 locate 1', '3 operate 2', '3 operate 2'],
    ]);
  });

  test('all ask at once: one makes it, the others find it', async () => {
    const asked = await Promise.all(
      Array.from({ length: 30 }, (_, i) =>
        clientOf([a, b, c][i % 3]).get('sem', '5', { attributes: { nsems: 1 } }),
      ),
    );
    const found = asked.map((r) => (r.ok ? r.value : r.errno));
    expect(new Set(found.map((f) => (typeof f === 'object' ? f.id : f))).size).toBe(1);
    expect(found.filter((f) => typeof f === 'object' && f.created)).toHaveLength(1);
  });

  test('errnos of looking up: ENOENT EEXIST EINVAL EACCES ENAMETOOLONG', async () => {
    expect(await one().get('msg', '1', { create: false })).toMatchObject({ errno: 'ENOENT' });
    await one().id('msg', '1');
    expect(await two().get('msg', '1', { exclusive: true })).toMatchObject({ errno: 'EEXIST' });
    expect(await two().get('sem', '1')).toMatchObject({ errno: 'EINVAL' });
    expect(await two().get('mq', '/a/b')).toMatchObject({ errno: 'EACCES' });
    expect(await two().get('psem', `/${'x'.repeat(300)}`)).toMatchObject({ errno: 'ENAMETOOLONG' });
    expect(await two().call(4_711, receive)).toMatchObject({ errno: 'EINVAL' });
  });

  test('removed: gone for everybody, its waiters get EIDRM, and its name is free at once', async () => {
    const id = await two().id('msg', '9');
    const waits = three().call(id, receive);
    await until('it waits', async () => (await cluster.waiting()) === 1);
    expect(await one().call(id, { op: 'remove' })).toMatchObject({ ok: true });
    expect(await waits).toMatchObject({ errno: 'EIDRM' });
    expect(await one().get('msg', '9', { create: false })).toMatchObject({ errno: 'ENOENT' });
    expect(await three().call(id, receive)).toMatchObject({ errno: 'EIDRM' });
    expect(await three().id('msg', '9')).not.toBe(id);
  });
});

describe('IPC: objects over nodes', () => {
  test('a queue: who waits on another node gets what is sent', async () => {
    const id = await two().id('msg', '1');
    const got = three().call(id, receive);
    await until('it waits', async () => (await cluster.waiting()) === 1);
    await one().call(id, send('hello', 7));
    expect(await got).toEqual(ok({ type: 7, text: text('hello') }));
  });

  test('waiting has an end: EAGAIN of semop, ETIMEDOUT else, EINTR when the client gives up', async () => {
    const sem = await two().id('sem', '1', { attributes: { nsems: 1 } });
    const down = { op: 'semop' as const, ops: [{ num: 0, op: -1 }] };
    expect(await one().call(sem, down, { waitMs: 20 })).toMatchObject({ errno: 'EAGAIN' });
    const queue = await two().id('mq', '/q');
    await one().call(queue, { op: 'open', handle: 1, read: true, write: true });
    const wait = { op: 'mqreceive' as const, handle: 1, size: 8_192 };
    expect(await one().call(queue, wait, { waitMs: 20 })).toMatchObject({ errno: 'ETIMEDOUT' });
    const gaveUp = new AbortController();
    void one().call(sem, down, { signal: gaveUp.signal });
    await until('it waits', async () => (await cluster.waiting()) === 1);
    gaveUp.abort();
    await until('it waits no more', async () => (await cluster.waiting()) === 0);
    expect(await two().call(sem, { op: 'semctl', command: 'GETVAL' })).toEqual(ok({ value: 0 }));
  });

  test('SEM_UNDO: when the client ends, and when its node dies', async () => {
    const id = await one().id('sem', '1', { attributes: { nsems: 1 } });
    const value = async () => {
      const reply = await one().call(id, { op: 'semctl', command: 'GETVAL' });
      return reply.ok && reply.value.value;
    };
    const up = { op: 'semop' as const, ops: [{ num: 0, op: 5, undo: true }] };
    await two().call(id, up);
    await three().call(id, up);
    expect(await value()).toBe(10);
    await two().close();
    await until('undone', async () => (await value()) === 5);
    await cluster.kill(3);
    expect(await value()).toBe(0);
    expect(await two().call(id, up)).toMatchObject({ errno: 'ESRCH' });
  });

  test('mq_notify: told once, on the node of the client', async () => {
    const id = await two().id('mq', '/q');
    const end = { handle: 3, read: true, write: true };
    await one().call(id, { op: 'open', ...end });
    await three().call(id, { op: 'open', ...end });
    expect(await one().call(id, { op: 'mqnotify', handle: 3, on: true })).toMatchObject({
      ok: true,
    });
    expect(await three().call(id, { op: 'mqnotify', handle: 3, on: true })).toMatchObject({
      errno: 'EBUSY',
    });
    for (const priority of [1, 2])
      await three().call(id, { op: 'mqsend', handle: 3, text: text('x'), priority });
    await until('told', () => one().told.length > 0);
    expect(one().told).toEqual([3]);
  });

  test('a fifo: opening meets, bytes go through in order, the last writer gone is the end', async () => {
    const id = await two().id('fifo', '/f');
    const reading = three().call(id, { op: 'open', handle: 1, read: true, write: false });
    await one().call(id, { op: 'open', handle: 1, read: false, write: true });
    expect(await reading).toMatchObject({ ok: true });
    const sent = Uint8Array.from({ length: 300_000 }, (_, i) => i % 251);
    const writing = (async () => {
      for (let at = 0; at < sent.length; at += 65_536)
        await one().call(id, { op: 'write', handle: 1, bytes: sent.slice(at, at + 65_536) });
      await one().call(id, { op: 'close', handle: 1 });
    })();
    const got: number[] = [];
    for (;;) {
      const reply = await three().call(id, { op: 'read', handle: 1, size: 40_000 });
      if (!reply.ok || !reply.value.text?.length) break;
      got.push(...reply.value.text);
    }
    await writing;
    expect(Uint8Array.from(got)).toEqual(sent);
    await three().call(id, { op: 'close', handle: 1 });
    const late = { op: 'open' as const, handle: 2, read: false, write: true, nonblock: true };
    expect(await one().call(id, late)).toMatchObject({ errno: 'ENXIO' });
  });

  test('rights are looked at by who asks, not by who serves', async () => {
    const alice = cluster.endpoint(0, 'operate_1000_100');
    const { ipc } = await import('@ssi/contracts');
    const session = 'abcdefabcdefabcd';
    await alice.call(ipc, 'session', 2, { session, open: true, after: 0 });
    const id = await one().id('msg', '1', { mode: 0o600 });
    const get = { session, type: 'msg' as const, name: '1', mode: 0o600 };
    expect(await alice.call(ipc, 'get', 2, get)).toMatchObject({ errno: 'EACCES' });
    expect(await alice.call(ipc, 'call', 2, { session, id, request: receive })).toMatchObject({
      errno: 'EACCES',
    });
    const remove = { session, id, request: { op: 'remove' as const } };
    expect(await alice.call(ipc, 'call', 2, remove)).toMatchObject({ errno: 'EPERM' });
    await one().call(id, { op: 'set', mode: 0o666 });
    expect(await alice.call(ipc, 'get', 2, get)).toMatchObject({ ok: true });
    await alice.close();
  });
});

describe('IPC: losses', () => {
  test('the node of an object dies: EIDRM of calls that wait and of later ones; of a fifo the end, and EPIPE', async () => {
    const queue = await three().id('msg', '1');
    const fifo = await three().id('fifo', '/f');
    await one().call(fifo, { op: 'open', handle: 1, read: true, write: true });
    await two().call(fifo, { op: 'open', handle: 1, read: true, write: true });
    const waits = [
      one().call(queue, receive),
      two().call(fifo, { op: 'read', handle: 1, size: 10 }),
    ];
    await until('both wait', async () => (await cluster.waiting()) === 2);
    await cluster.kill(3);
    expect(await waits[0]).toMatchObject({ errno: 'EIDRM' });
    expect(await waits[1]).toEqual(ok({ text: new Uint8Array() }));
    expect(await one().call(queue, receive)).toMatchObject({ errno: 'EIDRM' });
    const write = { op: 'write' as const, handle: 1, bytes: text('x') };
    expect(await one().call(fifo, write)).toMatchObject({ errno: 'EPIPE' });
    expect(await one().get('msg', '1', { create: false })).toMatchObject({ errno: 'ENOENT' });
  });

  test('the node of a reader dies: its writer gets EPIPE; the node of a writer: its reader the end', async () => {
    const id = await one().id('fifo', '/f');
    const opening = one().call(id, { op: 'open', handle: 1, read: false, write: true });
    await three().call(id, { op: 'open', handle: 1, read: true, write: false });
    expect(await opening).toMatchObject({ ok: true });
    const full = { op: 'write' as const, handle: 1, bytes: new Uint8Array(65_536) };
    expect(await one().call(id, full)).toEqual(ok({ n: 65_536 }));
    const waits = one().call(id, full);
    await until('it waits', async () => (await cluster.waiting()) === 1);
    await cluster.kill(3);
    expect(await waits).toMatchObject({ errno: 'EPIPE' });
  });

  const rebuilt = async (change: () => Promise<void>): Promise<void> => {
    const ids = [
      await one().id('msg', '1'),
      await two().id('msg', '2'),
      await three().id('sem', '3', { attributes: { nsems: 2 } }),
      await two().id('mq', '/q'),
      await two().id('msg'),
    ];
    await two().call(ids[1] ?? 0, send('kept'));
    const before = await cluster.objects();
    await change();
    const after = await cluster.objects();
    expect(after).toEqual(before.filter((o) => cluster.nodes.has(Number(o.split(' ')[3]))));
    expect(await three().id('msg', '2', { create: false })).toBe(ids[1]);
    expect(await three().call(ids[1] ?? 0, receive)).toEqual(ok({ type: 1, text: text('kept') }));
    const made = await two().id('msg');
    expect(ids).not.toContain(made);
  };

  test('the node of the nameserver dies: the next one knows every name of the others', () =>
    rebuilt(() => cluster.kill(1)));
  test('handed over: every name is known, a call that comes meanwhile waits', () =>
    rebuilt(async () => cluster.handOver(3)));
  test('the cache is empty, and meanwhile the nameserver is another', () =>
    rebuilt(async () => {
      Object.assign(cluster.store, memoryStore());
      cluster.handOver(2);
    }));
  test('the cache has names of the past: they are not believed', () =>
    rebuilt(async () => {
      const perm = { ...root, cuid: 0, cgid: 0, mode: 0o666 };
      const stale = {
        id: 5,
        type: 'msg' as const,
        name: '99',
        node: 2,
        bootId: 'f'.repeat(16),
        perm,
      };
      cluster.store.bindings.set(5, stale);
      cluster.handOver(3);
      expect(await two().get('msg', '99', { create: false })).toMatchObject({ errno: 'ENOENT' });
    }));
  test('more names than one answer carries: the next nameserver knows all of them', async () => {
    const count = 100;
    const long = (i: number): string => `/${String(i).padStart(4_000, 'x')}`;
    await Promise.all(Array.from({ length: count }, (_, i) => two().id('fifo', long(i + 1))));
    const last = await two().id('fifo', long(count));
    cluster.handOver(3);
    await until('rebuilt', async () => (await cluster.counters(3)).names === count);
    expect(cluster.sent.filter((s) => s === '3 rebuild 2').length).toBeGreaterThan(1);
    expect(await one().id('fifo', long(count), { create: false })).toBe(last);
  });
  test('a nameserver of the past writes nothing into the cache', async () => {
    const [old, next] = [cluster.cache(), cluster.cache()];
    await next.begin(1_000);
    const perm = { ...root, cuid: 0, cgid: 0, mode: 0o666 };
    old.put(12, { id: 5, type: 'msg', name: '99', node: 2, bootId: 'f'.repeat(16), perm });
    expect(await cluster.cache().begin(1_001)).toEqual([]);
    expect(await cluster.cache().begin(999)).toEqual([]);
  });

  test('a service that is started again has lost its objects: EIDRM, and their names are free', async () => {
    const id = await two().id('msg', '1');
    const waits = three().call(id, receive);
    await until('it waits', async () => (await cluster.waiting()) === 1);
    await cluster.restart(2);
    expect(await waits).toMatchObject({ errno: 'EIDRM' });
    expect(await three().call(id, receive)).toMatchObject({ errno: 'EIDRM' });
    await until('its name is free', async () => {
      const found = await three().get('msg', '1');
      return found.ok && found.value.created;
    });
  });

  test('the nameserver is started again in its epoch: names of others stay, no id comes twice', async () => {
    const before = [await two().id('msg', '1'), await two().id('msg')];
    await cluster.restart(1);
    expect(await three().id('msg', '1')).toBe(before[0]);
    expect(before).not.toContain(await three().id('msg'));
  });
});
