// A key service's two ends: the instance that knows when it may serve, and its callers.
import { clms, defineContract, type KeyService, ok, rpc, type View } from '@ssi/contracts';
import { seededRandom } from '@ssi/ports';
import { beforeEach, expect, test } from 'vitest';
import { z } from 'zod';
import { createIcs, type IcsEndpoint } from '../src/ics.ts';
import { createKeyCalls } from '../src/key-calls.ts';
import { createKeyRole, type KeyRole } from '../src/key-role.ts';
import { SimNet, VirtualClock } from './virtual.ts';

const names = defineContract('ipc', 1, {
  look: rpc({
    summary: 'Says who answers.',
    request: z.object({}),
    reply: z.object({ num: z.int() }),
    errnos: [],
  }),
});
const incarnation = { bootCount: 1, bootId: '00000000000000aa' };
const facts = {
  ...{ addresses: [], cpus: 1, memBytes: 0, kernel: '', arch: '', cpuFlags: [], native: false },
  ...{ heartbeatPorts: { udp: 0, tcp: 0 }, versions: {}, keyServices: ['ipc'] },
};
/** Nodes 1 and 2 are UP. */
const viewOf = (transid: number, ipc: KeyService): View => ({
  ...{ transid, term: 1, master: 1, pidBits: 16, keyServices: { ipc } },
  members: [1, 2].map((num) => ({ num, name: `n${num}`, state: 'UP', incarnation, facts })),
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
const pass = (ms: number): Promise<void> => clock.run(clock.nowMs() + ms);

interface Instance {
  readonly role: KeyRole;
  readonly ics: IcsEndpoint;
  readonly epochs: (number | undefined)[];
  told(view: View): void;
  /** What membership says of the lease, ms; 0: none. And the view it has itself. */
  lease: { ms: number; transid: number };
}

function instance(num: number, idle?: () => Promise<boolean>): Instance {
  const lease = { ms: 500, transid: 0 };
  const membership = endpoint(num, 'clms');
  membership.serve(clms, {
    confirm: () =>
      lease.ms > 0
        ? ok({ transid: lease.transid, leaseMs: lease.ms })
        : { ok: false, errno: 'ENETDOWN', detail: 'no lease' },
  });
  const ics = endpoint(num, 'ipc');
  const epochs: (number | undefined)[] = [];
  const role = createKeyRole({
    ...{ name: 'ipc', ics, clock, onEpoch: (e) => epochs.push(e) },
    ...(idle ? { idle } : {}),
  });
  ics.serve(names, { look: () => ok({ num }) });
  const told = (view: View): void => {
    lease.transid = view.transid;
    ics.setView(view, { num, incarnation });
    role.told({ view, self: { num, incarnation } });
  };
  return { role, ics, epochs, lease, told };
}

test('key service: active once the view names it and its lease was asked for; over when either ends', async () => {
  const one = instance(1);
  one.told(viewOf(7, { num: 1, since: 5 }));
  expect(one.role.epoch()).toBeUndefined();
  await pass(50);
  expect(one.role.epoch()).toBe(5);
  await pass(5_000);
  expect(one.role.epoch()).toBe(5);
  // No answer about the lease any more: it lasts as long as it was given for, and no longer.
  one.lease.ms = 0;
  await pass(600);
  expect(one.role.epoch()).toBeUndefined();
  one.lease.ms = 500;
  await pass(200);
  expect(one.role.epoch()).toBe(5);
  one.told(viewOf(8, { num: 2, since: 8 }));
  expect(one.role.epoch()).toBeUndefined();
  expect(one.role.elsewhere()).toBe(2);
  expect(one.epochs).toEqual([5, undefined, 5, undefined]);
});

test('key service: a lease in a view that it has not heard of yet is not its lease', async () => {
  const one = instance(1);
  one.told(viewOf(7, { num: 1, since: 5 }));
  one.lease.transid = 8;
  await pass(300);
  expect(one.role.epoch()).toBeUndefined();
});

test('key service: told to stand down it is over for that epoch, and says so when nothing is in work; EIO', async () => {
  let idle: (done: boolean) => void = () => {};
  const one = instance(1, () => new Promise((done) => (idle = done)));
  one.told(viewOf(7, { num: 1, since: 5 }));
  await pass(50);
  let answer: unknown;
  void one.role.standDown({ name: 'ipc', since: 5 }).then((reply) => {
    answer = reply;
  });
  expect(one.role.epoch()).toBeUndefined();
  await pass(500);
  expect(answer).toBeUndefined();
  idle(true);
  await pass(1);
  expect(answer).toEqual({ ok: true, value: {} });
  expect(one.role.epoch()).toBeUndefined();
  // A new epoch of its own begins it again.
  one.told(viewOf(8, { num: 1, since: 8 }));
  await pass(200);
  expect(one.role.epoch()).toBe(8);
  // The view alone is enough: it is to go elsewhere.
  one.told(viewOf(9, { num: 1, since: 8, to: 2 }));
  expect(one.role.epoch()).toBeUndefined();
  expect(await one.role.standDown({ name: 'lvs', since: 9 })).toMatchObject({ errno: 'EIO' });
});

test('key service: its callers go where the view says; EAGAIN while nobody is active', async () => {
  let view = viewOf(7, { num: 1, since: 5 });
  const both = [instance(1), instance(2)];
  const client = endpoint(0, 'c');
  const calls = createKeyCalls({ name: 'ipc', ics: client, view: () => view });
  const look = async () => {
    let reply: unknown;
    void calls.call(names, 'look', {}).then((r) => {
      reply = r;
    });
    await pass(100);
    return reply;
  };
  for (const i of both) i.told(view);
  expect(await look()).toEqual({ ok: true, value: { num: 1 } });
  view = viewOf(8, { num: 2, since: 8 });
  for (const i of both) i.told(view);
  expect(await look()).toEqual({ ok: true, value: { num: 2 } });
  const [first] = view.members;
  if (first) view = { ...view, members: [first] };
  expect(await look()).toMatchObject({ errno: 'EAGAIN' });
});

test('key service: ESTALE: an answer that goes by an older view than its caller has seen is refused', async () => {
  const old = viewOf(7, { num: 1, since: 5 });
  const one = instance(1);
  one.told(old);
  const calls = createKeyCalls({
    name: 'ipc',
    ics: endpoint(0, 'c'),
    // It was named anew; it has not heard of it.
    view: () => viewOf(9, { num: 1, since: 9 }),
  });
  let reply: unknown;
  let answered = 0;
  const onAnswered = (transid: number): void => {
    answered = transid;
  };
  void calls.call(names, 'look', {}, { onAnswered }).then((r) => {
    reply = r;
  });
  await pass(100);
  expect(answered).toBe(7);
  expect(reply).toMatchObject({ ok: false, errno: 'ESTALE' });
});
