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
const open = (num: number, portsFile: string, key?: string) =>
  openHeartbeats({
    ...{ cluster: 'c', num, nats, clock: systemClock(), random: systemRandom(), log: noLog },
    portsFile: join(dir, portsFile),
    key,
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

test('CLMS: heartbeats: what is not proven by the key of the nodes is not heard, by UDP or TCP', async () => {
  const [ours, theirs] = ['aa'.repeat(32), 'bb'.repeat(32)];
  const receiver = await open(4, 'n4', ours);
  const heard: number[] = [];
  const proven = Promise.withResolvers<void>();
  receiver.onMessage((message) => {
    heard.push(message.from.num);
    if (message.from.num === 7) proven.resolve();
  });
  const { udp, tcp } = receiver.ports;
  const peer = (ports: { udp: number; tcp: number }) => ({
    ...{ num: 4, addresses: ['127.0.0.1'], ports },
  });
  // By one way each, so that one that lets anything through is seen.
  const senders = await Promise.all([open(5, 'n5', theirs), open(6, 'n6'), open(7, 'n7', ours)]);
  const overTcp = await Promise.all([open(8, 'n8', theirs), open(9, 'n9')]);
  for (const s of senders) s.setPeers([peer({ udp, tcp: 0 })]);
  for (const s of overTcp) s.setPeers([peer({ udp: 0, tcp })]);
  const all = [
    ...senders.entries(),
    ...[...overTcp.entries()].map(([i, s]) => [i + 3, s] as const),
  ];
  const nums = [5, 6, 7, 8, 9];
  let rounds = 0;
  const beat = setInterval(() => {
    // The proven one comes last, after the others had connected and spoken many times.
    rounds++;
    for (const [i, s] of all)
      if (nums[i] !== 7 || rounds > 20)
        s.send(4, { type: 'ping', from: identity(nums[i] ?? 0), ping: rounds, transid: 1 });
  }, 20);
  await proven.promise;
  clearInterval(beat);
  expect(new Set(heard)).toEqual(new Set([7]));
  for (const s of [receiver, ...senders, ...overTcp]) await s.close();
});
