// Two versions of one contract in one cluster: what a rolling upgrade rests on.
import { defineContract, ok, rpc } from '@ssi/contracts';
import { seededRandom } from '@ssi/ports';
import { beforeEach, expect, test } from 'vitest';
import { z } from 'zod';
import { createIcs, type IcsEndpoint } from '../src/ics.ts';
import { inCommon } from '../src/version.ts';
import { SimNet, VirtualClock } from './virtual.ts';

const size = { summary: 'Its size.', errnos: [] } as const;
/** v2: told in bytes and not in KiB. */
const v1 = defineContract('store', 1, {
  size: rpc({ ...size, request: z.object({}), reply: z.object({ kib: z.int() }) }),
});
const v2 = defineContract('store', 2, {
  size: rpc({ ...size, request: z.object({}), reply: z.object({ bytes: z.int() }) }),
});

let clock: VirtualClock;
let net: SimNet;
const random = seededRandom(5);
beforeEach(() => {
  clock = new VirtualClock();
  net = new SimNet(clock, random, { drop: 0, duplicate: 0, delayMs: 0 });
});
const endpoint = (node: number, service: string): IcsEndpoint =>
  createIcs({ node, service, clock, random, transports: [net.transport(node, service)] });

async function ended<T>(work: Promise<T>): Promise<T> {
  await clock.run(clock.nowMs() + 10_000);
  return work;
}
const old = (node: number): IcsEndpoint => {
  const server = endpoint(node, 'store');
  server.serve(v1, { size: () => ok({ kib: 4 }) });
  return server;
};
const upgraded = (node: number): IcsEndpoint => {
  const server = old(node);
  server.serve(v2, { size: () => ok({ bytes: 4_097 }) });
  return server;
};
/** What a caller of the new version asks, old servers too. */
const bytesOf = (ics: IcsEndpoint, node: number, spoken: number[]) =>
  inCommon(ics, node, [v2, v1], async (version) => {
    spoken.push(version.version);
    if (version === v2) return ics.call(v2, 'size', node, {});
    const reply = await ics.call(v1, 'size', node, {});
    return reply.ok ? ok({ bytes: reply.value.kib * 1_024 }) : reply;
  });

test('ICS: versions: a server serves v1 and v2 side by side, each caller in its own', async () => {
  upgraded(1);
  const client = endpoint(0, 'cli');
  expect(await ended(client.call(v1, 'size', 1, {}))).toEqual(ok({ kib: 4 }));
  expect(await ended(client.call(v2, 'size', 1, {}))).toEqual(ok({ bytes: 4_097 }));
  expect(client.versions(v1, 1)).toEqual([1, 2]);
});

test('ICS: versions: the newest in common is spoken; an old server is asked in v2 once at most', async () => {
  old(1);
  upgraded(2);
  const client = endpoint(0, 'cli');
  const spoken: number[] = [];
  expect(await ended(bytesOf(client, 1, spoken))).toEqual(ok({ bytes: 4_096 }));
  expect(await ended(bytesOf(client, 1, spoken))).toEqual(ok({ bytes: 4_096 }));
  expect(await ended(bytesOf(client, 2, spoken))).toEqual(ok({ bytes: 4_097 }));
  expect(spoken).toEqual([2, 1, 1, 2]);
});

test('ICS: versions: after the upgrade of a server its new version is spoken', async () => {
  const before = old(1);
  const client = endpoint(0, 'cli');
  const spoken: number[] = [];
  await ended(bytesOf(client, 1, spoken));
  await before.close();
  upgraded(1);
  // The first call to the new life is refused by it and goes again: it says what it serves.
  expect((await ended(bytesOf(client, 1, spoken))).ok).toBe(true);
  expect(await ended(bytesOf(client, 1, spoken))).toEqual(ok({ bytes: 4_097 }));
});

test('ICS: versions: EPROTONOSUPPORT where none is in common', async () => {
  const server = endpoint(1, 'store');
  server.serve(v2, { size: () => ok({ bytes: 1 }) });
  const client = endpoint(0, 'cli');
  const call = inCommon(client, 1, [v1], (v) => client.call(v, 'size', 1, {}));
  expect(await ended(call)).toMatchObject({ errno: 'EPROTONOSUPPORT' });
});
