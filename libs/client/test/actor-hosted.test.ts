// One actor in its host, and the host's operations: each event once and in order by its number, whatever
// is lost, repeated or out of order; images that carry mailbox, numbers, answers and timers.
import { type Contract, ok, type Reply } from '@ssi/contracts';
import { type Clock, type Ics, noLog } from '@ssi/ports';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { assign, setup } from 'xstate';
import { type Delivered, type Delivery, HostedActor } from '../src/actor/hosted.ts';
import { decodeImage } from '../src/actor/image.ts';
import { createActorHost, defineActor } from '../src/index.ts';

const machine = setup({
  types: {
    context: {} as { seen: string[] },
    events: {} as { type: 'note'; what: string } | { type: 'hush' } | { type: 'end' },
  },
  actions: { reply: (_, _value: number) => {}, rang: () => {} },
}).createMachine({
  context: { seen: [] },
  initial: 'waiting',
  on: {
    note: {
      actions: [
        assign({ seen: ({ context, event }) => [...context.seen, event.what] }),
        { type: 'reply', params: ({ context }) => context.seen.length },
      ],
    },
    hush: { actions: assign({ seen: ({ context }) => context.seen }) },
    end: '.ended',
  },
  states: {
    waiting: { after: { 1000: { target: 'rung', actions: 'rang' } } },
    rung: {},
    ended: { type: 'final' },
  },
});
const definition = defineActor({ type: 'noter', machine });

/** Time that the test moves. */
function handClock(): Clock & { pass(ms: number): void } {
  let now = 0;
  let timers: { at: number; fn: () => void }[] = [];
  return {
    nowMs: () => now,
    wallMs: () => now,
    after: (delayMs, fn) => {
      const timer = { at: now + delayMs, fn };
      timers.push(timer);
      return {
        cancel: () => {
          timers = timers.filter((t) => t !== timer);
        },
      };
    },
    pass(ms) {
      const end = now + ms;
      for (;;) {
        const next = timers.filter((t) => t.at <= end).sort((a, b) => a.at - b.at)[0];
        if (!next) break;
        timers = timers.filter((t) => t !== next);
        now = next.at;
        next.fn();
      }
      now = end;
    },
  };
}

function hosted(clock = handClock()) {
  const rang: number[] = [];
  let ended = 0;
  const make = (node: number): HostedActor =>
    new HostedActor({ pid: 65_900, birth: node, uid: 0, life: '' }, definition, {
      clock,
      log: noLog,
      node,
      mayRun: () => true,
      effects: { rang: () => void rang.push(clock.nowMs()) },
      ended: () => {
        ended++;
      },
      changed: () => {},
    });
  const first = make(1);
  expect(first.start(undefined)).toEqual(ok());
  /** As the move protocol does it: the image at the source is the actor at the target. */
  const move = (from: HostedActor, to: number): HostedActor => {
    const image = decodeImage(from.freeze(`${to}`.padStart(32, '0'), to));
    if (!image) throw new Error('not an image');
    const next = make(to);
    next.load(image);
    from.end({ ok: false, errno: 'EREMCHG', detail: 'moved', node: to });
    next.resume();
    return next;
  };
  return { clock, first, make, move, rang, ended: () => ended };
}
const note = (seq: number, lowWater = 1, sender = 's'): Delivery => ({
  sender,
  seq,
  lowWater,
  kind: 'ask',
  event: { type: 'note', what: `${sender}${seq}` } as { type: string },
});
const seenOf = (a: HostedActor): string[] => {
  const image = decodeImage(a.freeze('f'.repeat(32), undefined));
  if (!image) throw new Error('not an image');
  return (image.machine.machine as { context: { seen: string[] } }).context.seen;
};

test('actor: a number counts once: repeated it answers as it did then, also after a move', async () => {
  const { first, move } = hosted();
  expect(first.deliver(note(1))).toEqual(ok({ value: 1 }));
  expect(first.deliver(note(1))).toEqual(ok({ value: 1 }));
  const there = move(first, 2);
  expect(there.deliver(note(1))).toEqual(ok({ value: 1 }));
  expect(there.deliver(note(2))).toEqual(ok({ value: 2 }));
  expect(seenOf(there)).toEqual(['s1', 's2']);
});

test('actor: a number that comes early waits for the one before it; without it EAGAIN', async () => {
  const { first, clock } = hosted();
  const second = first.deliver(note(2));
  expect(first.deliver(note(1))).toEqual(ok({ value: 1 }));
  expect(await second).toEqual(ok({ value: 2 }));
  const fourth = first.deliver(note(4));
  clock.pass(250);
  expect(await fourth).toMatchObject({ errno: 'EAGAIN' });
  // Its sender gave number 3 up: the low water says so.
  expect(first.deliver(note(4, 4))).toEqual(ok({ value: 3 }));
  expect(first.deliver(note(3, 4))).toMatchObject({ errno: 'ESTALE' });
  expect(seenOf(first)).toEqual(['s1', 's2', 's4']);
});

test('actor: ENOSYS where the step gives no reply, EREMCHG for who waits while it moves away', async () => {
  const { first } = hosted();
  expect(first.deliver({ ...note(1), event: { type: 'hush' } })).toMatchObject({ errno: 'ENOSYS' });
  first.freeze('1'.repeat(32), 2);
  const waits = first.deliver(note(2));
  first.end({ ok: false, errno: 'EREMCHG', detail: 'moved', node: 2 });
  expect(await waits).toMatchObject({ errno: 'EREMCHG', node: 2 });
});

test('actor: what waits in the mailbox of a stopped actor moves with it; EAGAIN when it is full', async () => {
  const { first, move } = hosted();
  first.stop(true);
  const asked = first.deliver(note(1));
  for (let n = 2; n <= 10_000; n++) first.deliver({ ...note(n), kind: 'send' });
  expect(first.deliver({ ...note(10_001), kind: 'send' })).toMatchObject({ errno: 'EAGAIN' });
  const there = move(first, 2);
  expect(await asked).toMatchObject({ errno: 'EREMCHG' });
  const again = there.deliver(note(1));
  expect(there.info).toMatchObject({ state: 'stopped', mailbox: 10_000 });
  there.stop(false);
  expect(await again).toEqual(ok({ value: 1 }));
  expect(seenOf(there)).toHaveLength(10_000);
});

test('actor: a timer has the time that was left when it was frozen, to the ms', () => {
  const { first, move, clock, rang } = hosted();
  clock.pass(400);
  first.freeze('1'.repeat(32), 2);
  clock.pass(5_000);
  const there = move(first, 2);
  clock.pass(599);
  expect(rang).toEqual([]);
  clock.pass(1);
  expect(rang).toEqual([6_000]);
  const third = move(there, 3);
  clock.pass(10_000);
  expect(rang).toEqual([6_000]);
  expect(third.info.state).toBe('running');
});

test('actor: the final state ends it; the answer to its last event can still be had', async () => {
  const { first, ended } = hosted();
  expect(first.deliver(note(1))).toEqual(ok({ value: 1 }));
  expect(first.deliver({ ...note(2), kind: 'send', event: { type: 'end' } })).toMatchObject({
    ok: true,
  });
  expect(ended()).toBe(1);
  expect(first.recall(note(1))).toEqual(ok({ value: 1 }));
  expect(first.recall(note(3))).toMatchObject({ errno: 'ESRCH' });
});

/** Any network and any moves: deliveries are lost, repeated and shuffled until every one is answered. */
test('actor: property: whatever is lost, repeated, shuffled or moved, each number counts once, in order', async () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ pick: fc.nat(), lost: fc.boolean() }) },
    { weight: 1, arbitrary: fc.constant('move' as const) },
    { weight: 1, arbitrary: fc.constant('gap' as const) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 80 }), async (steps) => {
      const { first, move, clock } = hosted();
      let at = first;
      let node = 1;
      const count = 12;
      const answers = new Map<number, number>();
      const lowWater = (): number => {
        for (let n = 1; n <= count; n++) if (!answers.has(n)) return n;
        return count + 1;
      };
      const send = (seq: number, lost: boolean): void => {
        const take = (reply: Delivered): void => {
          if (lost || !reply.ok) return;
          const value = reply.value.value as number;
          if (answers.has(seq)) expect(answers.get(seq)).toBe(value);
          answers.set(seq, value);
        };
        const reply = at.deliver(note(seq, lowWater()));
        if (reply instanceof Promise) void reply.then(take);
        else take(reply);
      };
      for (const s of steps) {
        if (s === 'move') at = move(at, ++node);
        else if (s === 'gap') clock.pass(300);
        else send(1 + (s.pick % count), s.lost);
        await Promise.resolve();
      }
      for (let n = 1; n <= count; n++) if (!answers.has(n)) send(n, false);
      await Promise.resolve();
      expect(seenOf(at)).toEqual(Array.from({ length: count }, (_, i) => `s${i + 1}`));
      expect([...answers].sort(([a], [b]) => a - b)).toEqual(
        Array.from({ length: count }, (_, i) => [i + 1, i + 1]),
      );
    }),
    { numRuns: 300 },
  );
});

test('actor: a type has a name that fits a subject', () => {
  expect(() => defineActor({ type: 'no good', machine })).toThrow(/not an actor type/);
});

/** The host's operations, called as vproc would. */
async function host() {
  const clock = handClock();
  const served: Record<
    string,
    (q: unknown, call: unknown) => Promise<Reply<unknown>> | Reply<unknown>
  > = {};
  const member = { num: 1, incarnation: { bootCount: 1, bootId: '1'.repeat(16) } };
  const view = { transid: 1, term: 1, master: 1, members: [], keyServices: {}, pidBits: 16 };
  const ics = {
    self: { node: 1, service: 'actor', bootId: 'a'.repeat(16) },
    call: async (contract: Contract, op: string, _node: number, q: { version?: number }) => {
      if (contract.name === 'clms' && op === 'attach')
        return ok({ view, self: member, leased: true, cluster: 'c' });
      // The map never changes.
      if (contract.name === 'ics' && op === 'watch') return new Promise(() => {});
      return ok({ known: q.version ?? 0, taken: [], strangers: [], map: [] });
    },
    serve: (_: Contract, handlers: typeof served) => Object.assign(served, handlers),
    setView: () => {},
    close: async () => {},
  } as unknown as Ics;
  const created = createActorHost({ ics, clock, node: 1, actors: [definition] });
  for (let i = 0; i < 5; i++) await Promise.resolve();
  return {
    clock,
    created,
    /** `life`: the caller's, that of the host if absent. */
    call: (op: string, q: object, life = member.incarnation.bootId) =>
      served[op]?.(q, { from: { incarnation: { bootCount: 1, bootId: life } } }),
  };
}
const id = { pid: 65_901, birth: 1 };
const moveId = 'b'.repeat(32);

test('actor host: ENOENT, EEXIST, EINVAL at its start; ESRCH where it is not', async () => {
  const { call } = await host();
  const q = { ...id, type: 'noter', input: undefined, uid: 0 };
  expect(call('create', { ...q, type: 'other' })).toMatchObject({ errno: 'ENOENT' });
  expect(call('create', q)).toMatchObject({ ok: true });
  expect(call('create', q)).toMatchObject({ ok: true });
  expect(call('create', { ...q, birth: 2 })).toMatchObject({ errno: 'EEXIST' });
  expect(call('deliver', { ...note(1), pid: 7 })).toMatchObject({ errno: 'ESRCH' });
  expect(call('signal', { ...id, birth: 9, signal: 15 })).toMatchObject({ errno: 'ESRCH' });
});

test('actor host: EBUSY for a second move, EAGAIN for a signal meanwhile, EREMCHG once it is gone', async () => {
  const { call } = await host();
  call('create', { ...id, type: 'noter', input: undefined, uid: 0 });
  expect(call('freeze', { ...id, moveId, to: 2, offset: 0 })).toMatchObject({ ok: true });
  expect(call('freeze', { ...id, moveId: 'c'.repeat(32), offset: 0 })).toMatchObject({
    errno: 'EBUSY',
  });
  expect(call('signal', { ...id, signal: 15 })).toMatchObject({ errno: 'EAGAIN' });
  expect(call('destroy', id)).toMatchObject({ ok: true });
  expect(call('deliver', { ...note(1), pid: id.pid })).toMatchObject({ errno: 'EREMCHG', node: 2 });
  expect(call('destroy', id)).toMatchObject({ ok: true });
});

test('actor host: ERANGE, EBADMSG: an image comes whole and in order, or not at all', async () => {
  const { call } = await host();
  const piece = { ...id, moveId, totalBytes: 4, data: new Uint8Array([1, 2]) };
  expect(call('install', { ...piece, offset: 2 })).toMatchObject({ errno: 'ERANGE' });
  expect(call('install', { ...piece, offset: 0 })).toMatchObject({ ok: true });
  expect(call('install', { ...piece, offset: 2 })).toMatchObject({ errno: 'EBADMSG' });
  expect(call('list', {})).toMatchObject({ value: { actors: [] } });
});

test('actor host: SIGTERM is an end that is listed until it is taken; ESHUTDOWN after its close', async () => {
  const { call, created } = await host();
  const q = { ...id, type: 'noter', input: undefined, uid: 0 };
  call('create', q);
  expect(call('signal', { ...id, signal: 28 })).toMatchObject({ ok: true });
  expect(call('signal', { ...id, signal: 15 })).toMatchObject({ ok: true });
  expect(call('list', {})).toMatchObject({
    value: { actors: [], exits: [{ ...id, code: null, signal: 'SIGTERM' }] },
  });
  await created.close();
  expect(call('create', q)).toMatchObject({ errno: 'ESHUTDOWN' });
});

test("actor host: a node's next life ends its actors, but not one started in it", async () => {
  const { call, created } = await host();
  const q = { type: 'noter', input: undefined, uid: 0 };
  const nextLife = '2'.repeat(16);
  expect(call('create', { ...q, pid: 65_901, birth: 1 })).toMatchObject({ ok: true });
  // vproc heard of the next life before this host did.
  expect(call('create', { ...q, pid: 65_902, birth: 2 }, nextLife)).toMatchObject({ ok: true });
  expect(created.actors().map((a) => a.pid)).toEqual([65_901, 65_902]);
  const view = { transid: 2, term: 1, master: 1, members: [], keyServices: {}, pidBits: 16 };
  const self = { num: 1, incarnation: { bootCount: 2, bootId: nextLife } };
  call('view', { view, self, leased: true });
  expect(created.actors().map((a) => a.pid)).toEqual([65_902]);
  // The same word again ends nobody.
  call('view', { view, self, leased: true });
  expect(call('deliver', { ...note(1), pid: 65_902 })).toMatchObject({ ok: true });
  expect(call('deliver', { ...note(1), pid: 65_901 })).toMatchObject({ errno: 'ESRCH' });
});

test('actor host: a fork stands until it is resumed, then runs with what its parent knew; ESRCH, EEXIST, EBUSY', async () => {
  const { call, created } = await host();
  const child = { pid: 65_902, birth: 2 };
  const fork = { ...id, child };
  expect(call('fork', fork)).toMatchObject({ errno: 'ESRCH' });
  call('create', { ...id, type: 'noter', input: undefined, uid: 7 });
  call('deliver', { ...note(1), pid: id.pid });
  expect(call('fork', { ...id, child: { ...id, birth: 9 } })).toMatchObject({ errno: 'EEXIST' });
  const made = { value: { info: { ...child, uid: 7, state: 'frozen', mailbox: 0 } } };
  expect(call('fork', fork)).toMatchObject(made);
  expect(call('fork', fork)).toMatchObject(made);
  const waits = call('deliver', { ...note(1), pid: child.pid, kind: 'ask' });
  expect(call('resume', child)).toMatchObject({ ok: true });
  // Its second note, and the first of this sender to it.
  expect(await waits).toMatchObject({ ok: true, value: { value: 2 } });
  expect(created.actors()).toHaveLength(2);
  call('freeze', { ...id, moveId, to: 2, offset: 0 });
  expect(call('fork', { ...id, child: { pid: 65_903, birth: 3 } })).toMatchObject({
    errno: 'EBUSY',
  });
});
