// The promises of ICS over a network that drops, doubles, delays and reorders, with servers that are
// restarted and transports that are cut: on a virtual clock, decided by a seed.
import { ok, type Reply } from '@ssi/contracts';
import { seededRandom } from '@ssi/ports';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createIcs } from '../src/ics.ts';
import { echo } from './echo.contract.ts';
import { SimNet, VirtualClock } from './virtual.ts';

interface Plan {
  seed: number;
  drop: number;
  duplicate: number;
  delayMs: number;
  steps: readonly Step[];
}
type Step =
  | { kind: 'call'; timeoutMs: number; workMs: number; priority: 0 | 1 }
  | { kind: 'send' }
  | { kind: 'cancel'; afterMs: number }
  | { kind: 'watch'; workMs: number }
  | { kind: 'pause'; ms: number }
  | { kind: 'restart'; awayMs: number }
  | { kind: 'cut'; name: 'nats' | 'tcp'; ms: number };

const ms = (max: number) => fc.integer({ min: 1, max });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant('call' as const),
      timeoutMs: ms(4_000),
      workMs: fc.constantFrom(0, 0, 0, 1, 30, 400),
      priority: fc.constantFrom(0 as const, 1 as const),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('send' as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('cancel' as const), afterMs: ms(300) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('watch' as const), workMs: ms(20_000) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('pause' as const), ms: ms(600) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const), awayMs: ms(500) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('cut' as const),
      name: fc.constantFrom('nats' as const, 'tcp' as const),
      ms: ms(2_000),
    }),
  },
);
const plan: fc.Arbitrary<Plan> = fc.record({
  seed: fc.nat(),
  drop: fc.constantFrom(0, 0.05, 0.3),
  duplicate: fc.constantFrom(0, 0.1, 0.5),
  delayMs: fc.constantFrom(0, 5, 80),
  steps: fc.array(step, { minLength: 1, maxLength: 80, size: 'max' }),
});

interface Outcome {
  /** How each call ended, by its number. */
  ended: Map<number, Reply<{ n: number }>>;
  issued: number[];
  /** Runs in order of their start, with the life of the server and the channel. */
  runs: { n: number; life: number; lane: string }[];
}

async function play(p: Plan): Promise<Outcome> {
  const clock = new VirtualClock();
  const random = seededRandom(p.seed);
  const net = new SimNet(clock, random, p);
  const outcome: Outcome = { ended: new Map(), issued: [], runs: [] };
  let life = 0;
  const serve = () => {
    const mine = ++life;
    const server = createIcs({
      node: 1,
      service: 'echo',
      clock,
      random,
      transports: [net.transport(1, 'echo', 'tcp'), net.transport(1, 'echo', 'nats')],
    });
    const run = (n: number, lane: string) => outcome.runs.push({ n, life: mine, lane });
    const later = <T>(delayMs: number, value: T): Promise<T> | T =>
      delayMs === 0 ? value : new Promise((done) => clock.after(delayMs, () => done(value)));
    server.serve(echo, {
      say: ({ n }, call) => {
        run(n, `say${call.context.priority}`);
        return later(works.get(n) ?? 0, ok({ n, size: 0 }));
      },
      watch: ({ n }) => {
        run(n, 'say0');
        return later(works.get(n) ?? 0, ok({ n }));
      },
      tell: ({ n }) => {
        run(n, 'say0');
        return ok();
      },
    });
    return server;
  };
  const works = new Map<number, number>();
  let server = serve();
  const client = createIcs({
    node: 0,
    service: 'cli',
    clock,
    random,
    transports: [net.transport(0, 'cli', 'tcp'), net.transport(0, 'cli', 'nats')],
    checkReplies: true,
  });
  let n = 0;
  const track = (id: number, done: Promise<Reply<{ n: number }>>) => {
    outcome.issued.push(id);
    void done.then((r) => {
      expect(outcome.ended.has(id)).toBe(false);
      outcome.ended.set(id, r);
    });
  };
  for (const s of p.steps) {
    const id = ++n;
    if (s.kind === 'call') {
      works.set(id, s.workMs);
      // A call made while a call of priority 0 is served goes out at 1.
      const context = s.priority === 1 ? { context: { priority: 0 as const } } : {};
      track(id, client.call(echo, 'say', 1, { n: id }, { timeoutMs: s.timeoutMs, ...context }));
    } else if (s.kind === 'send') client.send(echo, 'tell', 1, { n: id });
    else if (s.kind === 'cancel') {
      const pending = client.request(echo, 'say', 1, { n: id });
      track(id, pending.done);
      clock.after(s.afterMs, () => pending.cancel());
    } else if (s.kind === 'watch') {
      works.set(id, s.workMs);
      track(id, client.call(echo, 'watch', 1, { n: id }, { timeoutMs: 15_000 }));
    } else if (s.kind === 'pause') await clock.run(clock.nowMs() + s.ms);
    else if (s.kind === 'cut') {
      net.cut.add(s.name);
      clock.after(s.ms, () => net.cut.delete(s.name));
    } else {
      await server.close();
      await clock.run(clock.nowMs() + s.awayMs);
      server = serve();
    }
  }
  await clock.run(clock.nowMs() + 60_000);
  // Calm: whatever happened, calls go through; the first may still learn of a restart (where frames may
  // be doubled, nobody can say that its former life did not run it).
  net.faults = { drop: 0, duplicate: 0, delayMs: 1 };
  for (let i = 0; i < 2; i++) {
    track(++n, client.call(echo, 'say', 1, { n }, { timeoutMs: 10_000 }));
    await clock.run(clock.nowMs() + 20_000);
  }
  expect(outcome.ended.get(n)).toMatchObject({ ok: true, value: { n } });
  await client.close();
  await server.close();
  return outcome;
}

test('ICS: at most once, in order, every call ends, whatever the network does', async () => {
  await fc.assert(
    fc.asyncProperty(plan, async (p) => {
      const { ended, issued, runs } = await play(p);
      // Every call ends.
      expect([...ended.keys()].sort((a, b) => a - b)).toEqual(issued);
      const times = new Map<number, number>();
      for (const r of runs) times.set(r.n, (times.get(r.n) ?? 0) + 1);
      for (const [n, count] of times) expect(count, `runs of ${n}`).toBe(1);
      for (const [n, reply] of ended) {
        if (reply.ok) {
          expect(reply.value.n).toBe(n);
          expect(times.get(n)).toBe(1);
        } else if (reply.errno === 'EHOSTUNREACH') expect(times.has(n)).toBe(false);
        else expect(['ETIMEDOUT', 'ECANCELED']).toContain(reply.errno);
      }
      // In order on each channel, life by life.
      const last = new Map<string, number>();
      for (const r of runs) {
        const key = `${r.life}/${r.lane}`;
        expect(r.n).toBeGreaterThan(last.get(key) ?? 0);
        last.set(key, r.n);
      }
    }),
    { numRuns: 400 },
  );
}, 120_000);

test('ICS: the same seed gives the same run', async () => {
  const p: Plan = {
    seed: 42,
    drop: 0.2,
    duplicate: 0.2,
    delayMs: 20,
    steps: Array.from({ length: 40 }, (_, i) =>
      i % 7 === 6
        ? { kind: 'pause', ms: 90 }
        : { kind: 'call', timeoutMs: 2_000, workMs: i % 3, priority: 0 },
    ),
  };
  const a = await play(p);
  const b = await play(p);
  expect(a.runs).toEqual(b.runs);
  expect([...a.ended]).toEqual([...b.ended]);
});
