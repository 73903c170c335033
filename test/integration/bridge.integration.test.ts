// Two buses, nodes that share none, and a router that reaches both: one cluster all the same.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { clms, defineContract, ics, rpc, type ViewMember } from '@ssi/contracts';
import { connectBus, createEndpoint, type Endpoint } from '@ssi/ics';
import { systemClock, systemRandom } from '@ssi/linux';
import { openJetStreamKv } from '@ssi/stores';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import {
  hasNatsServer,
  type NatsServer,
  startNatsServer,
} from '../../libs/ports/test/nats-server.ts';
import { waitUntil } from '../harness/wait-until.ts';

const clock = systemClock();
const random = systemRandom();
const root = fileURLToPath(new URL('../../', import.meta.url));
let cluster = '';
let dir = '';
let running: ChildProcess[] = [];
let closing: (() => Promise<unknown>)[] = [];

function start(service: string, num: number, nats: string, more: Record<string, string> = {}) {
  const log = openSync(`${dir}/n${num}-${service}.log`, 'a');
  const child = spawn(process.execPath, [`${root}services/${service}/src/main.ts`], {
    stdio: ['ignore', log, log],
    env: {
      ...{ PATH: process.env.PATH, SSI_CLUSTER: cluster, SSI_NODE: String(num), SSI_NATS: nats },
      ...{ SSI_STATE_DIR: `${dir}/n${num}/state`, SSI_NODE_DIR: `${dir}/n${num}/run` },
      ...{ SSI_SERVICES: 'membership,ics-router', SSI_TWO_NODE: '1' },
      // Nobody is there [RFC 5737]: what the nodes say to each other goes over the buses or not at all.
      ...{ SSI_ADDRESSES: '192.0.2.1', ...more },
    },
  });
  running.push(child);
}

const nobodys = defineContract('nobodys', 1, {
  look: rpc({
    summary: 'Served by nobody.',
    request: z.object({}),
    reply: z.object({}),
    errnos: [],
  }),
});

const logOf = (num: number): string => readFileSync(`${dir}/n${num}-membership.log`, 'utf8');

describe.skipIf(!hasNatsServer).each([1, 2])(
  'two buses and a bridge: node %d came first',
  (founder) => {
    let first: NatsServer;
    let second: NatsServer;
    let client: Endpoint;

    beforeAll(async () => {
      cluster = `bridge${process.pid}_${founder}`;
      dir = mkdtempSync(`${tmpdir()}/ssi-bridge-`);
      running = [];
      closing = [];
      [first, second] = await Promise.all([
        startNatsServer(),
        startNatsServer([], { store: false }),
      ]);
      start('ics-router', 1, first.url, { SSI_BRIDGE_NATS: second.url });
      // Either may be the one that founds the cluster.
      start('membership', founder, founder === 1 ? first.url : second.url);
      start('ics-router', 2, second.url);
      await waitUntil('it is founded', () => logOf(founder).includes('cluster founded'), 30_000);
      start('membership', 3 - founder, founder === 1 ? second.url : first.url);
      const opened = await createEndpoint({
        ...{ cluster, node: 0, service: 'looker', clock, random, nats: second.url },
      });
      if (!opened.ok) throw new Error(opened.detail);
      client = opened.value;
      closing.push(() => client.close());
    });
    afterAll(async () => {
      for (const close of closing) await close();
      for (const child of running) {
        child.kill('SIGKILL');
        if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      }
      await first?.stop();
      await second?.stop();
      rmSync(dir, { recursive: true, force: true });
    });

    const members = async (num: number): Promise<readonly ViewMember[]> => {
      const reply = await client.ics.call(clms, 'members', num, {}, { timeoutMs: 2_000 });
      return reply.ok ? reply.value.view.members : [];
    };

    test('a node on the second bus joins, and both see both UP; heartbeats cross too', async () => {
      for (const num of [1, 2])
        await waitUntil(
          `node ${num} sees two nodes UP`,
          async () => (await members(num)).filter((m) => m.state === 'UP').length === 2,
          30_000,
        );
      // It first tries the address where nobody is.
      await waitUntil(
        'the routers talk over the buses',
        async () => {
          const asked = await client.ics.call(ics, 'channels', 1, {});
          const channel = asked.ok && asked.value.channels.find((c) => c.node === 2);
          return channel && channel.state === 'up' && channel.transport === 'nats';
        },
        20_000,
      );
      // UP rests on a lease, and a lease on heartbeats.
      for (const num of [1, 2]) expect(logOf(num)).not.toContain('KCLEANUP');
    }, 60_000);

    test('the store of the first bus is written and read from the second', async () => {
      const bus = await connectBus(second.url, 'kv', {
        inboxPrefix: `ssi.${cluster}.inbox.9-clms`,
      });
      if (!bus.ok) throw new Error(bus.detail);
      closing.push(() => bus.value.close());
      const kv = openJetStreamKv({
        connection: bus.value,
        bucket: `ssi_${cluster}`,
        timeoutMs: 2_000,
      });
      const made = await kv.compareAndSet('across', Buffer.from('one'), 0);
      if (!made.ok) throw new Error(made.detail);
      expect(await kv.compareAndSet('across', Buffer.from('x'), 0)).toMatchObject({
        errno: 'EAGAIN',
      });
      expect(await kv.compareAndSet('across', Buffer.from('two'), made.value)).toMatchObject({
        ok: true,
      });
      const read = await kv.get('across');
      expect(read.ok && Buffer.from(read.value?.value ?? []).toString()).toBe('two');
      await kv.close();
    }, 30_000);

    test('EHOSTUNREACH for what nobody serves on the other bus: the word crosses too', async () => {
      // Of node 1 something else is served, so this goes across and finds nobody there.
      const startMs = performance.now();
      const reply = await client.ics.call(nobodys, 'look', 1, {}, { timeoutMs: 5_000 });
      expect(reply).toMatchObject({ ok: false, errno: 'EHOSTUNREACH' });
      expect(performance.now() - startMs).toBeLessThan(2_000);
    }, 30_000);
  },
);
