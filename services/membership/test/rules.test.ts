// The rules one by one, as plain functions of plain data.
import { nodedownSteps, type View } from '@ssi/contracts';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FirstCopy } from '../src/adapters/first-copy.ts';
import { readConfig } from '../src/config.ts';
import {
  heard,
  look,
  newDetector,
  suspectAfterMs,
  suspects,
  watching,
} from '../src/failure-detector.ts';
import { isLeased, noLease, pingAnswered, pingSent } from '../src/lease.ts';
import {
  beatAcked,
  beatSent,
  mandateUntil,
  mayPromise,
  newMandate,
  noPromise,
  promise,
  released,
} from '../src/mandate.ts';
import { acknowledged, begin, isDone, overdue, stepName } from '../src/nodedown.ts';
import { isColdQuorum, isQuorum, votersOf } from '../src/quorum.ts';
import { decodeRecord, encodeRecord, recordOf } from '../src/record.ts';
import { judge, newer } from '../src/recovery.ts';
import { timing, timingFault } from '../src/timing.ts';
import {
  cleanup,
  emptyView,
  inCleanup,
  join,
  nodedown,
  ready,
  shutdown,
  takeover,
} from '../src/view.ts';

const life = (bootCount: number, tag = 'a') => ({ bootCount, bootId: tag.repeat(16) });
const facts = {
  addresses: [],
  cpus: 1,
  memBytes: 0,
  kernel: '6',
  arch: 'x64',
  cpuFlags: [],
  native: true,
  heartbeatPorts: { udp: 0, tcp: 0 },
  versions: {},
};
const joining = (num: number, bootCount = 1, tag = 'a') => ({
  num,
  name: `n${num}`,
  incarnation: life(bootCount, tag),
  facts,
});
const must = <T>(r: { ok: true; value: T } | { ok: false; errno: string }): T => {
  if (!r.ok) throw new Error(r.errno);
  return r.value;
};
const upView = (...nums: number[]): View =>
  nums.reduce(
    (v, num) => must(ready(must(join(v, joining(num))), { num, incarnation: life(1) })),
    emptyView(16),
  );

describe('CLMS: view', () => {
  test('join, ready, nodedown, cleanup: one transid each, states as CLMS has them', () => {
    const v1 = must(join(emptyView(16), joining(2)));
    expect([v1.transid, v1.members[0]?.state]).toEqual([1, 'COMINGUP']);
    const v2 = must(ready(v1, { num: 2, incarnation: life(1) }));
    expect([v2.transid, v2.members[0]?.state]).toEqual([2, 'UP']);
    const dead = [{ num: 2, incarnation: life(1) }];
    const v3 = nodedown(v2, dead);
    expect([v3.transid, v3.members[0]?.state]).toEqual([3, 'KCLEANUP']);
    expect(inCleanup(v3)).toEqual(dead);
    expect(cleanup(v3, dead, 'DOWN').members[0]?.state).toBe('DOWN');
  });

  test('a join of a life that is in changes nothing; so does a nodedown of one that is out', () => {
    const v = upView(1, 2);
    expect(must(join(v, joining(1)))).toBe(v);
    const out = nodedown(v, [{ num: 2, incarnation: life(1) }]);
    expect(nodedown(out, [{ num: 2, incarnation: life(1) }])).toBe(out);
  });

  test('EEXIST, EAGAIN, ESTALE, EINVAL of join', () => {
    const v = upView(1, 2);
    expect(join(v, joining(2, 2, 'b'))).toMatchObject({ errno: 'EEXIST' });
    const out = nodedown(v, [{ num: 2, incarnation: life(1) }]);
    expect(join(out, joining(2, 2, 'b'))).toMatchObject({ errno: 'EAGAIN' });
    const down = cleanup(out, [{ num: 2, incarnation: life(1) }], 'DOWN');
    expect(join(down, joining(2, 1, 'b'))).toMatchObject({ errno: 'ESTALE' });
    expect(join(out, joining(2))).toMatchObject({ errno: 'ESTALE' });
    expect(join(v, joining(64))).toMatchObject({ errno: 'EINVAL' });
    expect(join(down, joining(2, 2, 'b'))).toMatchObject({ ok: true });
  });

  test('ESTALE of ready and leave for another life', () => {
    const v = upView(1);
    expect(ready(v, { num: 1, incarnation: life(2) })).toMatchObject({ errno: 'ESTALE' });
    expect(shutdown(v, { num: 1, incarnation: life(1, 'b') })).toMatchObject({ errno: 'ESTALE' });
  });

  test('takeover: each term has transids of its own, above all that the last one may have used unheard', () => {
    const v = { ...upView(1, 2), term: 6 };
    const q = { term: 7, master: 1, dead: [{ num: 2, incarnation: life(1) }] };
    expect(takeover(v, q)).toMatchObject({ transid: v.transid + 16, term: 7, master: 1 });
    expect(takeover(v, { ...q, term: 9 }).transid).toBe(v.transid + 3 * 16);
    expect(takeover(emptyView(16), { ...q, term: 1 }).transid).toBe(1);
  });
});

describe('CLMS: quorum', () => {
  test('majority of the voters; expected_votes, two_node, wait_for_all, auto_tie_breaker', () => {
    expect(isQuorum([1, 2], [1, 2, 3], {})).toBe(true);
    expect(isQuorum([1], [1, 2], {})).toBe(false);
    expect(isQuorum([1, 2], [1, 2], { expectedVotes: 5 })).toBe(false);
    expect(isQuorum([2], [1, 2], { twoNode: true })).toBe(true);
    expect(isColdQuorum([2], [1, 2], { twoNode: true })).toBe(false);
    expect(isColdQuorum([1, 2], [1, 2, 3], { waitForAll: true })).toBe(false);
    expect(isQuorum([1, 4], [1, 2, 3, 4], { autoTieBreaker: true })).toBe(true);
    expect(isQuorum([2, 3], [1, 2, 3, 4], { autoTieBreaker: true })).toBe(false);
    expect(isQuorum([], [], {})).toBe(true);
  });

  test('who is not talked to has no vote', () => {
    const v = nodedown(upView(1, 2, 3), [{ num: 2, incarnation: life(1) }]);
    expect(votersOf(v)).toEqual([1, 3]);
  });

  test('two quorums of the same voters always meet (property, but for two_node)', () => {
    const voters = [1, 2, 3, 4, 5, 6];
    fc.assert(
      fc.property(
        fc.subarray(voters),
        fc.subarray(voters),
        fc.boolean(),
        (a, b, autoTieBreaker) => {
          const q = { autoTieBreaker };
          if (isQuorum(a, voters, q) && isQuorum(b, voters, q))
            expect(a.some((n) => b.includes(n))).toBe(true);
        },
      ),
    );
  });
});

describe('CLMS: mandate and promise', () => {
  const follow = (term: number, to: number, reigns = true) => ({ term, to, life: `${to}`, reigns });

  test('the mandate counts from the sending of the newest heartbeat that a majority acknowledged', () => {
    let m = newMandate(1);
    for (const [seq, atMs] of [
      [1, 0],
      [2, 100],
      [3, 200],
    ] as const) {
      m = beatSent(m, seq, atMs);
      m = beatAcked(m, 1, seq);
    }
    expect(mandateUntil(m, [1, 2, 3], {}, timing)).toBe(Number.NEGATIVE_INFINITY);
    m = beatAcked(m, 2, 2);
    expect(mandateUntil(m, [1, 2, 3], {}, timing)).toBeCloseTo(100 + timing.promiseMs / 1.01);
    m = beatAcked(m, 2, 1);
    expect(mandateUntil(m, [1, 2, 3], {}, timing)).toBeCloseTo(100 + timing.promiseMs / 1.01);
  });

  test('a mandate is over before a majority may promise another (property)', () => {
    const delay = fc.integer({ min: 0, max: 3_000 });
    fc.assert(
      fc.property(delay, fc.double({ min: 0.9951, max: 1.0049, noNaN: true }), (lateMs, rate) => {
        // The voter's clock runs `rate` as fast as the master's; the heartbeat took `lateMs`.
        const m = beatAcked(beatAcked(beatSent(newMandate(1), 1, 0), 1, 1), 2, 1);
        const untilMs = mandateUntil(m, [1, 2, 3], {}, timing);
        const receivedMs = lateMs * rate;
        const p = promise(noPromise, follow(1, 1), receivedMs, timing);
        expect(mayPromise(p, follow(2, 3), untilMs * rate)).toBe(false);
      }),
    );
  });

  test('a promise: not another within P, not an older term, the same life at once', () => {
    const p = promise(noPromise, follow(3, 1), 0, timing);
    expect(mayPromise(p, follow(4, 2), timing.promiseMs - 1)).toBe(false);
    expect(mayPromise(p, follow(4, 2), timing.promiseMs)).toBe(true);
    expect(mayPromise(p, follow(2, 1), 5_000)).toBe(false);
    // A term is one candidate's; who was heard as its master has won it.
    expect(mayPromise(p, { ...follow(3, 2), reigns: false }, 5_000)).toBe(false);
    expect(mayPromise(p, { ...follow(3, 2), reigns: true }, 5_000)).toBe(true);
    expect(mayPromise(p, follow(4, 1), 10)).toBe(true);
    expect(mayPromise(p, { ...follow(4, 1), life: 'other' }, 10)).toBe(false);
  });

  test('a master that lets go keeps its term; a candidate that withdraws leaves the former one', () => {
    const p = promise(noPromise, follow(3, 1), 0, timing);
    expect(mayPromise(released(p, follow(3, 1)), follow(4, 2), 1)).toBe(true);
    expect(mayPromise(released(p, follow(3, 1)), follow(2, 2), 1)).toBe(false);
    const voted = promise(p, follow(9, 2, false), 2_000, timing);
    expect(mayPromise(voted, follow(3, 1), 2_001)).toBe(false);
    expect(mayPromise(released(voted, follow(9, 2, false)), follow(3, 1), 2_001)).toBe(true);
    expect(released(voted, follow(8, 2, false))).toBe(voted);
  });
});

describe('CLMS: lease', () => {
  test('L from the sending of the answered ping, never back, nothing for an unknown one', () => {
    let l = pingSent(pingSent(noLease, 1, 0), 2, 100);
    expect(isLeased(l, 0)).toBe(false);
    l = pingAnswered(l, 2, timing);
    expect(l.untilMs).toBe(100 + timing.leaseMs);
    expect(pingAnswered(l, 1, timing).untilMs).toBe(100 + timing.leaseMs);
    expect(pingAnswered(l, 9, timing)).toBe(l);
    const endMs = 100 + timing.leaseMs;
    expect([isLeased(l, endMs - 1), isLeased(l, endMs)]).toEqual([true, false]);
  });

  test('the numbers hold together, and a wrong one is refused', () => {
    expect(timingFault(timing)).toBeUndefined();
    expect(timingFault({ ...timing, leaseMs: timing.leaseMs + 6 })).toContain('verdictMs');
    expect(timingFault({ ...timing, promiseMs: 500 })).toContain('promiseMs');
  });
});

describe('CLMS: failure detector', () => {
  test('silence of V accuses; a word clears', () => {
    let d = watching(newDetector(0), [2, 3]);
    for (let t = 20; t < timing.verdictMs; t += 20) d = look(d, t, timing);
    d = heard(d, 3);
    expect(suspects(d, timing)).toEqual([]);
    d = look(d, timing.verdictMs, timing);
    expect(suspects(d, timing)).toEqual([2]);
  });

  test('a starved monitor accuses nobody, and waits longer for a while', () => {
    let d = look(watching(newDetector(0), [2]), 5_000, timing);
    expect(suspects(d, timing)).toEqual([]);
    expect(suspectAfterMs(d, timing)).toBeGreaterThan(timing.verdictMs);
    for (let t = 20; t <= timing.verdictMs; t += 20) d = look(d, 5_000 + t, timing);
    expect(suspects(d, timing)).toEqual([]);
    for (let t = timing.verdictMs + 20; t <= 1_200; t += 20) d = look(d, 5_000 + t, timing);
    expect(d.health).toBe(0);
    expect(suspects(d, timing)).toEqual([2]);
  });
});

describe('CLMS: nodedown steps', () => {
  const dead = [{ num: 3, incarnation: life(1) }];

  test('in order, each acknowledged by all before the next', () => {
    let c = begin(undefined, dead, [1, 2], 0);
    const order: string[] = [];
    while (!isDone(c)) {
      const step = stepName(c);
      if (!step) break;
      order.push(step);
      c = acknowledged(c, { round: c.round, step, num: 1 }, [1, 2], 0);
      expect(stepName(c)).toBe(step);
      c = acknowledged(c, { round: c.round, step, num: 2 }, [1, 2], 0);
    }
    expect(order).toEqual([...nodedownSteps]);
  });

  test('a further death begins anew for the union; answers to the former round do not count', () => {
    const c = begin(undefined, dead, [1, 2, 4], 0);
    const again = begin(c, [{ num: 2, incarnation: life(1) }], [1, 4], 50);
    expect(again).toMatchObject({ step: 0, waitingFor: [1, 4] });
    expect(again.dead.map((d) => d.num)).toEqual([2, 3]);
    expect(acknowledged(again, { round: c.round, step: 'ics', num: 1 }, [1, 4], 60)).toBe(again);
  });

  test('past the deadline the nodes that did not answer are named', () => {
    const c = acknowledged(
      begin(undefined, dead, [1, 2], 0),
      { round: 1, step: 'ics', num: 1 },
      [1, 2],
      5,
    );
    expect(overdue(c, 9_999, 10_000)).toEqual([]);
    expect(overdue(c, 10_000, 10_000)).toEqual([2]);
  });
});

describe('CLMS: memory', () => {
  const record = (clusterId: string, view: View) =>
    recordOf({ cluster: 'c', clusterId, writeId: 'w', view });

  test('a KV is fresh, good, forgetful or foreign', () => {
    const old = upView(1);
    const view = upView(1, 2);
    expect(judge(undefined, undefined)).toBe('fresh');
    expect(judge(record('x', view), undefined)).toBe('good');
    expect(judge(undefined, { clusterId: 'x', view })).toBe('forgot');
    expect(judge(record('x', old), { clusterId: 'x', view })).toBe('forgot');
    expect(judge(record('x', view), { clusterId: 'x', view: old })).toBe('good');
    expect(judge(record('y', old), { clusterId: 'x', view })).toBe('forgot');
    expect(judge(record('y', view), { clusterId: 'x', view: old })).toBe('foreign');
    expect(newer(old, view)).toBe(view);
  });

  test('what is not a record is nothing', () => {
    const r = record('x', upView(1));
    expect(decodeRecord(encodeRecord(r))).toEqual(r);
    expect(decodeRecord(encodeRecord(r).slice(0, 40))).toBeUndefined();
    expect(decodeRecord(new TextEncoder().encode('{"version":2}'))).toBeUndefined();
  });
});

describe('CLMS: channel and configuration', () => {
  test('of the copies of a message the first counts, whatever the order; a restart counts anew', () => {
    const copies = new FirstCopy();
    expect([5, 3, 5, 3, 4].map((seq) => copies.take(2, 'x', seq))).toEqual([
      true,
      true,
      false,
      false,
      true,
    ]);
    expect(copies.take(2, 'y', 5)).toBe(true);
    for (let seq = 6; seq < 5_000; seq++) copies.take(2, 'y', seq);
    expect(copies.take(2, 'y', 10)).toBe(false);
  });

  test('a wrong setting is named', () => {
    const env = { SSI_CLUSTER: 'c', SSI_NODE: '3', SSI_NATS: 'nats://x', SSI_STATE_DIR: '/s' };
    expect(readConfig({ ...env, SSI_SERVICES: 'membership,ics-router,vproc' })).toMatchObject({
      num: 3,
      services: ['ics', 'vproc'],
      native: false,
    });
    expect(() => readConfig({ ...env, SSI_NODE: 'x' })).toThrow('SSI_NODE=x');
    expect(() => readConfig({ ...env, SSI_PID_BITS: '15' })).toThrow('SSI_PID_BITS=15');
    expect(() => readConfig({ ...env, SSI_TWO_NODE: 'yes' })).toThrow('SSI_TWO_NODE=yes');
    expect(() => readConfig({ SSI_NODE: '1' })).toThrow('SSI_CLUSTER is not set');
  });
});
