// The heartbeat channel outlives the process: found by a broker that stood still after a standby had taken over.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { NatsConnection } from '@nats-io/transport-node';
import { systemClock, systemRandom } from '@ssi/linux';
import { noLog } from '@ssi/ports';
import { afterAll, expect, test } from 'vitest';
import { openHeartbeats } from '../src/adapters/heartbeats.net.ts';

const dir = mkdtempSync(join(tmpdir(), 'ssi-heartbeats-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** A bus that is away: what is heard came directly. */
const nats = {
  subscribe: () => ({ unsubscribe: () => {} }),
  status: async function* () {},
  isClosed: () => true,
} as unknown as NatsConnection;
const open = (num: number, portsFile: string) =>
  openHeartbeats({
    ...{ cluster: 'c', num, nats, clock: systemClock(), random: systemRandom(), log: noLog },
    portsFile: join(dir, portsFile),
  });
const identity = (num: number) => ({ num, incarnation: { bootCount: 1, bootId: '0'.repeat(16) } });

test('CLMS: heartbeats: who takes over in the same life is heard where the view says, without the bus', async () => {
  const first = await open(1, 'n1');
  const { ports } = first;
  await first.close();
  const second = await open(1, 'n1');
  expect(second.ports).toEqual(ports);
  const heard = Promise.withResolvers<number>();
  second.onMessage((message) => heard.resolve(message.from.num));
  const peer = await open(2, 'n2');
  peer.setPeers([{ num: 1, addresses: ['127.0.0.1'], ports }]);
  const beat = setInterval(
    () => peer.send(1, { type: 'ping', from: identity(2), ping: 1, transid: 1 }),
    20,
  );
  expect(await heard.promise).toBe(2);
  clearInterval(beat);
  await second.close();
  await peer.close();
});

test('CLMS: heartbeats: ports that somebody has taken meanwhile are given up', async () => {
  const first = await open(3, 'n3');
  const other = await open(3, 'n3');
  expect(other.ports.udp).not.toBe(first.ports.udp);
  expect(other.ports.tcp).not.toBe(first.ports.tcp);
  await first.close();
  await other.close();
});
