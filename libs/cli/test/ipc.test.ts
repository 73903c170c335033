// IPC as a program and a person have it, on an embedded cluster of three nodes with their real memberships.
import { exitCode, run } from '@ssi/cli';
import type { Ipc } from '@ssi/client';
import type { IpcInfo, Reply } from '@ssi/contracts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createEmbeddedCluster, type EmbeddedCluster } from '../src/index.ts';
import { fakeIo } from './fake-io.ts';

let cluster: EmbeddedCluster;
const open: Ipc[] = [];
beforeAll(async () => {
  cluster = await createEmbeddedCluster({ nodes: 3 });
  expect((await cluster.up(20_000)).ok).toBe(true);
});
afterAll(async () => {
  await Promise.all(open.map((ipc) => ipc.close()));
  await cluster?.close();
});

function value<T>(reply: Reply<T>): T {
  if (!reply.ok) throw new Error(`${reply.errno} ${reply.detail}`);
  return reply.value;
}
async function on(node: number): Promise<Ipc> {
  const ipc = value(await cluster.ssi.ipc({ node, label: 'test' }));
  open.push(ipc);
  return ipc;
}
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (b: Uint8Array): string => new TextDecoder().decode(b);

async function command(argv: string[], input?: string) {
  const { ssi } = cluster;
  const io = fakeIo({ ipc: (o) => ssi.ipc(o), ipcs: (t) => ssi.ipcs(t) });
  if (input !== undefined) io.input.end(input);
  const code = await run(argv, io);
  return { code, out: io.out(), err: io.err() };
}

describe('IPC: the client', () => {
  test('a System V queue: made on one node, used from two others, removed', async () => {
    const [a, b, c] = [await on(1), await on(2), await on(3)];
    const id = value(await a.msgget(4_711, { create: true }));
    expect(value(await b.msgget(4_711))).toBe(id);
    const waits = c.msgrcv(id, 100, -5);
    value(await b.msgsnd(id, 9, bytes('nine')));
    value(await b.msgsnd(id, 3, bytes('three')));
    const got = value(await waits);
    expect({ ...got, text: text(got.text) }).toEqual({ type: 3, text: 'three' });
    expect(await c.msgrcv(id, 2, 0)).toMatchObject({ errno: 'E2BIG' });
    expect(await c.msgrcv(id, 2, 4, { nowait: true })).toMatchObject({ errno: 'ENOMSG' });
    expect(value(await c.stat(id))).toMatchObject({ holds: 1, bytes: 4 });
    value(await c.remove(id));
    expect(await a.msgsnd(id, 1, bytes('x'))).toMatchObject({ errno: 'EIDRM' });
  });

  test('looking a name up is one call to the nameserver: one span in the trace of each', async () => {
    const a = await on(2);
    const nameserver = value(await cluster.ssi.nodes()).find((n) => n.keyServices.includes('ipc'));
    const asker = nameserver?.num === 2 ? await on(3) : a;
    for (const key of [1, 2, 3, 2]) value(await asker.msgget(key, { create: true }));
    /** Calls to the nameserver, of each trace of that node's. */
    const lookups = async (): Promise<number[]> => {
      const traces = await Promise.all(
        value(await cluster.spans.recentTraces(100)).map((t) => cluster.spans.readTrace(t.traceId)),
      );
      return traces
        .map(value)
        .filter((spans) => spans.some((s) => s.name === 'ipc.get' && s.node === asker.node))
        .map((spans) => spans.filter((s) => s.name === 'ipc.lookup' && s.kind === 'server').length);
    };
    const complete = async (): Promise<boolean> => {
      const counts = await lookups();
      return counts.length >= 4 && counts.every((n) => n === 1);
    };
    await expect.poll(complete, { timeout: 10_000 }).toBe(true);
  });

  test('semaphores: all or nothing, undo when the session is closed, time given', async () => {
    const [a, b] = [await on(1), await on(3)];
    const id = value(await a.semget(5, 2, { create: true }));
    value(await a.semctl(id, 'SETALL', undefined, [1, 0]));
    const both = [
      { num: 0, op: -1, undo: true },
      { num: 1, op: -1 },
    ];
    expect(await b.semop(id, both, { timeoutMs: 30 })).toMatchObject({ errno: 'EAGAIN' });
    const waits = b.semop(id, both);
    value(await a.semop(id, [{ num: 1, op: 1 }]));
    value(await waits);
    expect(value(await a.semctl(id, 'GETALL')).values).toEqual([0, 0]);
    await b.close();
    await expect.poll(async () => value(await a.semctl(id, 'GETALL')).values).toEqual([1, 0]);
  });

  test('POSIX: a queue by priority with a notification, a semaphore by name', async () => {
    const [a, b] = [await on(2), await on(3)];
    const reader = value(await a.mqOpen('/q', { read: true }, { create: true, maxMessages: 4 }));
    const writer = value(await b.mqOpen('/q', { write: true, nonblock: true }));
    const told = Promise.withResolvers<void>();
    value(await reader.notify(told.resolve));
    for (const priority of [1, 7, 3, 7]) value(await writer.send(bytes(`p${priority}`), priority));
    expect(await writer.send(bytes('x'))).toMatchObject({ errno: 'EAGAIN' });
    await told.promise;
    const order: string[] = [];
    for (let i = 0; i < 4; i++) order.push(text(value(await reader.receive()).text));
    expect(order).toEqual(['p7', 'p7', 'p3', 'p1']);
    expect(await reader.receive({ timeoutMs: 20 })).toMatchObject({ errno: 'ETIMEDOUT' });
    value(await a.unlink('mq', '/q'));
    expect(await b.mqOpen('/q', { read: true })).toMatchObject({ errno: 'ENOENT' });
    value(await writer.send(bytes('still open')));

    const sem = value(await a.semOpen('/s', { create: true, value: 1 }));
    const other = value(await b.semOpen('/s'));
    value(await other.wait());
    expect(await sem.wait({ nowait: true })).toMatchObject({ errno: 'EAGAIN' });
    const waits = sem.wait();
    value(await other.post());
    value(await waits);
    expect(value(await sem.value())).toBe(0);
  });

  test('a pipe without a name, between nodes: a megabyte in order, then the end', async () => {
    const [a, b] = [await on(1), await on(2)];
    const { id, read, write } = value(await a.pipe());
    const other = value(await b.openFifoId(id, { read: true }));
    value(await read.close());
    const sent = Uint8Array.from({ length: 1_000_000 }, (_, i) => (i * 7 + (i >> 8)) % 256);
    const writing = write.write(sent).then(async (n) => {
      expect(n).toEqual({ ok: true, value: sent.length });
      value(await write.close());
    });
    const parts: Uint8Array[] = [];
    for (;;) {
      const part = value(await other.read());
      if (part.length === 0) break;
      parts.push(part);
    }
    await writing;
    expect(Buffer.concat(parts).equals(Buffer.from(sent))).toBe(true);
    value(await other.close());
    expect(value(await cluster.ssi.ipcs('fifo')).objects).toEqual([]);
  });
});

describe('IPC: the command line', () => {
  test('ssi mq: POSIX by name, System V by key; ssi ipcs shows them, ssi ipcrm removes them', async () => {
    expect(await command(['mq', 'recv', '/none'])).toMatchObject({ code: exitCode.failed });
    expect((await command(['mq', 'send', '-c', '--node', '2', '/jobs', 'low'])).err).toBe('');
    await command(['mq', 'send', '--priority', '5', '/jobs'], 'high');
    await command(['mq', 'send', '-c', '--type', '3', '0x1267'], 'three');
    const { out } = await command(['ipcs', '--json']);
    const objects = (JSON.parse(out) as IpcInfo[]).filter((o) =>
      ['/jobs', '4711'].includes(o.name ?? ''),
    );
    expect(objects).toMatchObject([
      { type: 'mq', name: '/jobs', node: 2, stat: { holds: 2 } },
      { type: 'msg', name: '4711', stat: { holds: 1, bytes: 5 } },
    ]);
    expect((await command(['ipcs', '--type', 'mq'])).out).toMatch(
      /mq +\/jobs +2 +0 +600 +0 +2 of 10/,
    );
    expect((await command(['mq', 'recv', '--count', '2', '/jobs'])).out).toBe('high\nlow\n');
    const nothing = await command(['mq', 'recv', '--no-wait', '/jobs']);
    expect(nothing).toMatchObject({ code: exitCode.failed, out: '' });
    expect(nothing.err).toContain('EAGAIN');
    expect((await command(['mq', 'recv', '4711'])).out).toBe('three');
    const late = await command(['mq', 'recv', '--timeout', '20ms', '4711']);
    expect(late.err).toContain('ETIMEDOUT');
    expect(await command(['ipcrm', '--mq', '/jobs', '-Q', '4711'])).toMatchObject({
      code: 0,
      err: '',
    });
    expect((await command(['ipcrm', '-Q', '4711'])).err).toContain('ENOENT');
    expect((await command(['ipcrm'])).code).toBe(exitCode.usage);
    expect((await command(['mq', 'send', 'x y', 'z'])).code).toBe(exitCode.usage);
  });

  test('ssi sem: wait, post, value', async () => {
    expect((await command(['sem', 'wait', '-c', '--value', '2', '/slots'])).code).toBe(0);
    expect((await command(['sem', 'value', '/slots'])).out).toBe('1\n');
    await command(['sem', 'wait', '/slots']);
    expect((await command(['sem', 'wait', '--no-wait', '/slots'])).err).toContain('EAGAIN');
    const waits = command(['sem', 'wait', '/slots']);
    await command(['sem', 'post', '/slots']);
    expect((await waits).code).toBe(0);
    expect((await command(['ipcrm', '--psem', '/slots'])).code).toBe(0);
  });

  test('ssi fifo: what is written on one node is read on another', async () => {
    expect((await command(['fifo', 'make', '--node', '3', '/f'])).code).toBe(0);
    expect((await command(['fifo', 'make', '/f'])).err).toContain('EEXIST');
    const reading = command(['fifo', 'read', '--node', '1', '/f']);
    const lines = Array.from({ length: 20_000 }, (_, i) => `line ${i}\n`).join('');
    expect((await command(['fifo', 'write', '--node', '2', '/f'], lines)).code).toBe(0);
    expect((await reading).out).toBe(lines);
    expect((await command(['ipcrm', '--fifo', '/f'])).code).toBe(0);
  });
});
