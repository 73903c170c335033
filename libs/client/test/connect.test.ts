import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type AttachEvent,
  clientClock,
  connect,
  findCluster,
  probeBus,
  type Ssi,
} from '@ssi/client';
import { attachKind, clms, fail, ok, vproc } from '@ssi/contracts';
import { createEndpoint, type Endpoint } from '@ssi/ics';
import { type Stream, seededRandom } from '@ssi/ports';
import { pack, unpack } from 'msgpackr';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hasNatsServer, startNatsServer } from '../../ports/test/nats-server.ts';
import { incarnationOf, viewOf } from './fake-cluster.ts';

describe('client: finding a cluster', () => {
  const dir = mkdtempSync(join(tmpdir(), 'ssi-client-'));
  const env = { SSI_RUN_DIR: dir };
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  const write = (name: string, text: string): void => {
    mkdirSync(join(dir, 'clusters', name), { recursive: true });
    writeFileSync(join(dir, 'clusters', name, 'cluster.json'), text);
  };
  const file = (name: string, more: object) =>
    JSON.stringify({ name, mode: 'native', pidBits: 16, processes: [], nodes: [], ...more });

  test('none: ENOENT and how to start one; a bus that is no URL: EINVAL', () => {
    expect(findCluster({ env })).toMatchObject({
      errno: 'ENOENT',
      detail: expect.stringMatching(/ssi up/),
    });
    expect(findCluster({ env: { ...env, SSI_NATS: 'local host' } })).toMatchObject({
      errno: 'EINVAL',
    });
  });

  test('the only one needs no name; of several one must be chosen', () => {
    write('one', file('one', { nats: 'nats://a:b@127.0.0.1:1' }));
    expect(findCluster({ env })).toMatchObject({ value: { cluster: 'one' } });
    write('two', file('two', { nats: 'nats://a:b@127.0.0.1:2' }));
    expect(findCluster({ env })).toMatchObject({
      errno: 'EINVAL',
      detail: expect.stringMatching(/one, two/),
    });
    expect(findCluster({ env: { ...env, SSI_CLUSTER: 'two' } })).toMatchObject({
      value: { nats: 'nats://a:b@127.0.0.1:2' },
    });
  });

  test('a name wins over SSI_NATS where that cluster is here', () => {
    const other = { ...env, SSI_NATS: 'nats://far:4222' };
    expect(findCluster({ env: other, cluster: 'one' })).toMatchObject({
      value: { nats: 'nats://a:b@127.0.0.1:1' },
    });
    expect(findCluster({ env: other, cluster: 'far' })).toMatchObject({
      value: { cluster: 'far', nats: 'nats://far:4222' },
    });
  });

  test('damaged, or without a bus: each says so', () => {
    write('bad', '{');
    write('typo', file('typo', { mode: 'nativ' }));
    write('emb', file('emb', { mode: 'embedded' }));
    write('half', file('half', {}));
    const errnoOf = (cluster: string) => {
      const found = findCluster({ env, cluster });
      return found.ok ? 'ok' : found.errno;
    };
    expect(['bad', 'typo', 'emb', 'half', 'gone'].map(errnoOf)).toEqual([
      'EBADMSG',
      'EBADMSG',
      'EBADMSG',
      'EBADMSG',
      'ENOENT',
    ]);
  });

  test('a bus that is not there: ECONNREFUSED within the wait', async () => {
    const reply = await connect({ env: { SSI_NATS: 'nats://127.0.0.1:1' }, waitMs: 1_000 });
    expect(reply).toMatchObject({
      ok: false,
      errno: 'ECONNREFUSED',
      detail: expect.stringMatching(/ssi doctor/),
    });
  });
});

describe.runIf(hasNatsServer)('client: over a real bus', () => {
  const pid = 65_601;
  const view = viewOf(7, { 1: 'UP', 2: 'DOWN' });
  const text = Array.from({ length: 50_000 }, (_, i) => `line ${i}\n`).join('');
  const endpoints: Endpoint[] = [];
  const received: Buffer[] = [];
  let server: Awaited<ReturnType<typeof startNatsServer>>;
  let ssi: Ssi;

  const serviceOf = async (service: string): Promise<Endpoint> => {
    const opened = await createEndpoint({
      cluster: 'real',
      node: 1,
      service,
      clock: clientClock,
      random: seededRandom(service.length),
      nats: server.url,
    });
    if (!opened.ok) throw new Error(opened.detail);
    endpoints.push(opened.value);
    return opened.value;
  };

  /** Sends all output in pieces; the first connection is dropped in the middle. */
  let connections = 0;
  async function serve(stream: Stream): Promise<void> {
    const drop = connections++ === 0;
    const opening = unpack((await stream.read()) ?? new Uint8Array());
    void (async () => {
      for (;;) {
        const message = await stream.read();
        if (!message) return;
        const [kind, offset, bytes] = unpack(message);
        if (kind !== attachKind.input) continue;
        const had = Buffer.concat(received).length;
        if (offset + bytes.length > had) received.push(Buffer.from(bytes.subarray(had - offset)));
        await stream.write(pack([attachKind.ack, 'in', Buffer.concat(received).length]));
      }
    })().catch(() => {});
    const log = Buffer.from(text);
    for (let at = opening[1].out; at < log.length; at += 60_000) {
      if (drop && at > 200_000) return stream.destroy();
      const bytes = log.subarray(at, at + 60_000);
      await stream.write(pack([attachKind.data, 'out', at, bytes]));
    }
    await stream.write(pack([attachKind.exit, { pid, code: 4, signal: null }]));
  }

  beforeAll(async () => {
    server = await startNatsServer();
    const self = { num: 1, incarnation: incarnationOf(1) };
    const membership = await serviceOf('clms');
    membership.ics.serve(clms, {
      members: () => ok({ view, self, leased: true, services: [{ name: 'vproc', state: 'up' }] }),
    });
    const processes = await serviceOf('vproc');
    const listener = await processes.streams.listen();
    const token = 'ab'.repeat(16);
    listener.accept(token, (stream) => void serve(stream).catch(() => {}));
    const entry = {
      ...{ pid, ppid: 0, pgid: pid, sid: pid, tids: [], kind: 'native' as const, node: 1, hop: 0 },
      phase: 'live' as const,
    };
    const streams = (['out', 'in'] as const).map((name) => ({
      ...{ owner: pid, name, startOffset: 0, fedOffset: 0, eof: false },
      endOffset: name === 'out' ? text.length : 0,
    }));
    processes.ics.serve(vproc, {
      where: ({ pid: asked }) =>
        asked === pid ? ok({ entry: { ...entry, born: 1 } }) : fail('ESRCH', 'none'),
      attach: () =>
        ok({ token, addresses: ['127.0.0.1'], port: listener.port, streams, tty: false }),
      signal: () => ok({ delivered: 1 }),
    });
    processes.ics.setView(view);
    membership.ics.setView(view);
    const reply = await connect({ env: { SSI_NATS: server.url, SSI_CLUSTER: 'real' } });
    if (!reply.ok) throw new Error(reply.detail);
    ssi = reply.value;
  });
  afterAll(async () => {
    await ssi?.close();
    for (const e of endpoints) await e.close();
    await server?.stop();
  });

  test('nodes and where, by the real ICS', async () => {
    expect(await ssi.nodes()).toMatchObject({ value: [{ num: 1, answers: true }, { num: 2 }] });
    expect(await ssi.where(pid)).toMatchObject({ value: { node: 1 } });
    expect(await ssi.where(pid + 1)).toMatchObject({ errno: 'ESRCH' });
  });

  test('output over a real stream that breaks in the middle, and input the other way', async () => {
    const attached = ssi.attach(pid, { input: true });
    const events: AttachEvent[] = [];
    const input = Buffer.from('typed\n'.repeat(1_000));
    const writing = attached.write(input);
    for await (const event of attached.events()) events.push(event);
    await writing;
    const got = Buffer.concat(events.flatMap((e) => (e.type === 'data' ? [e.bytes] : [])));
    expect(got.toString()).toBe(text);
    expect(connections).toBeGreaterThan(1);
    expect(events.at(-1)).toEqual({ type: 'exit', status: { pid, code: 4, signal: null } });
    expect(Buffer.concat(received).toString()).toBe(input.toString());
  });

  test('what a client did is a trace that can be read back, with no orphan', async () => {
    expect(await ssi.kill(pid, 15)).toEqual(ok({ delivered: 1 }));
    const spansOf = async (name: string) => {
      const recent = await ssi.traces(20);
      const found = recent.ok ? recent.value.find((t) => t.name === name) : undefined;
      const spans = await ssi.trace(found?.traceId ?? '');
      return spans.ok ? spans.value : [];
    };
    // A finished span is in the store a flush later.
    await expect
      .poll(async () => (await spansOf('ssi.kill')).map((s) => s.name), { timeout: 5_000 })
      .toContain('vproc.signal');
    const list = await spansOf('ssi.kill');
    const ids = new Set(list.map((s) => s.spanId));
    expect(list.filter((s) => s.parentSpanId === null).map((s) => s.name)).toEqual(['ssi.kill']);
    expect(list.every((s) => s.parentSpanId === null || ids.has(s.parentSpanId))).toBe(true);
  });

  test('the bus as doctor sees it', async () => {
    expect(await probeBus(server.url, 2_000)).toMatchObject({
      ok: true,
      value: { jetstream: true },
    });
    expect(await probeBus('nats://127.0.0.1:1', 500)).toMatchObject({ errno: 'ECONNREFUSED' });
  });
});
