// The pure parts of vproc, rule by rule.
import assert from 'node:assert/strict';
import type { OriginEntry, View } from '@ssi/contracts';
import { originOf, originOfRange } from '@ssi/contracts';
import fc from 'fast-check';
import { describe, test } from 'vitest';
import { applyScan } from '../src/exec-table.ts';
import { heldNumbers, holding } from '../src/held.ts';
import { sourceEntry, sourceMayResume, sourceTells, targetTells } from '../src/migrate.ts';
import { moveSet, numbersOf } from '../src/move-set.ts';
import { bornNumber, rangesOf, standbyOfRange } from '../src/pid.ts';
import type { ScannedProcess } from '../src/ports.ts';
import {
  applyEntries,
  applyGone,
  applyNodeDown,
  exitsMax,
  hostDown,
  supersedes,
} from '../src/process-table.ts';
import { maySignal, mergeDeliveries, signalName, validSignal } from '../src/signal.ts';
import { FakeCluster } from './fake-cluster.ts';

const viewOf = (up: readonly number[], all = 5): View => {
  const { view } = new FakeCluster(all);
  const members = view.members.map((m) => ({
    ...m,
    state: up.includes(m.num) ? ('UP' as const) : ('DOWN' as const),
  }));
  return { ...view, members };
};
const entry = (e: Partial<OriginEntry> & { pid: number }): OriginEntry => ({
  ppid: 0,
  pgid: e.pid,
  sid: e.pid,
  tids: [],
  kind: 'native',
  node: 1,
  hop: 0,
  phase: 'live',
  ...e,
});

describe('vproc: pid: origin is a pure function of the view', () => {
  const ups = fc.uniqueArray(fc.integer({ min: 1, max: 5 }), { minLength: 1 });
  test('it is node k while k is UP, else one UP node, the same for everybody', () => {
    fc.assert(
      fc.property(ups, fc.integer({ min: 1, max: 5 }), (up, range) => {
        const origin = originOfRange(viewOf(up), range);
        assert(origin !== undefined && up.includes(origin));
        if (up.includes(range)) assert.equal(origin, range);
        assert.equal(origin, originOfRange(viewOf([...up].reverse()), range));
      }),
    );
  });
  test('the standby is who becomes origin when the origin dies', () => {
    fc.assert(
      fc.property(ups, fc.integer({ min: 1, max: 5 }), (up, range) => {
        const origin = originOfRange(viewOf(up), range);
        const without = up.filter((n) => n !== origin);
        assert.equal(standbyOfRange(viewOf(up), range), originOfRange(viewOf(without), range));
      }),
    );
  });
  test('every range has one origin, and rangesOf says the same', () => {
    fc.assert(
      fc.property(ups, (up) => {
        const all = up.flatMap((num) => rangesOf(viewOf(up), num)).sort();
        assert.deepEqual(all, [1, 2, 3, 4, 5]);
      }),
    );
  });
  test('a number below every range has no origin (EPIDRANGE)', () => {
    assert.equal(originOf(viewOf([1, 2]), 300), undefined);
  });
  test('a later user of a number is born later, over boots too', () => {
    assert(bornNumber(1, 2 ** 36) < bornNumber(2, 0));
    assert(bornNumber(3, 10) < bornNumber(3, 11));
  });
});

describe('vproc: process table: which report counts', () => {
  const entries = fc.record({
    hop: fc.integer({ min: 0, max: 3 }),
    born: fc.integer({ min: 0, max: 1 }),
    phase: fc.constantFrom('live', 'doubt', 'exited'),
  });
  test('whatever the order, the last word is of the highest (born, hop)', () => {
    fc.assert(
      fc.property(fc.array(entries, { minLength: 1 }), (list) => {
        const table = new Map<number, OriginEntry>();
        // One node for each hop: only one side of a move speaks for a hop once it is decided.
        for (const e of list)
          applyEntries(table, [entry({ pid: 65_537, ...e, phase: 'live', node: e.hop + 1 })]);
        const rank = (e: { born?: number | undefined; hop: number }): number =>
          (e.born ?? 0) * 10 + e.hop;
        const known = table.get(65_537);
        assert(known);
        assert.equal(rank(known), Math.max(...list.map(rank)));
      }),
    );
  });
  test('at one hop: the known node corrects itself, live corrects doubt, doubt corrects nobody', () => {
    const live = entry({ pid: 7, node: 1 });
    assert(supersedes(live, entry({ pid: 7, node: 1, phase: 'exited' })));
    assert(!supersedes(live, entry({ pid: 7, node: 2, phase: 'doubt' })));
    assert(supersedes(entry({ pid: 7, node: 2, phase: 'doubt' }), live));
    assert(!supersedes(entry({ pid: 7, phase: 'exited' }), live), 'the dead stay dead');
    const killed = entry({ pid: 7, phase: 'exited' });
    const declared = entry({ pid: 7, phase: 'exited', exit: hostDown(7) });
    assert(supersedes(killed, declared), 'what was declared is what all say');
    assert(!supersedes(declared, killed));
  });
  test('gone counts only from where the process is', () => {
    const table = new Map([[7, entry({ pid: 7, node: 2, hop: 1 })]]);
    assert.deepEqual(applyGone(table, [7], 1), []);
    assert.deepEqual(applyGone(table, [7], 2), [7]);
  });
  test('nodedown ends what was there, and only that', () => {
    const table = new Map([
      [7, entry({ pid: 7, node: 2 })],
      [8, entry({ pid: 8, node: 3 })],
    ]);
    const ended = applyNodeDown(table, new Set([2]));
    assert.deepEqual(
      ended.map((e) => [e.pid, e.exit?.reason]),
      [[7, 'EHOSTDOWN']],
    );
    assert.equal(table.get(8)?.phase, 'live');
  });
  test(`ends are bounded: the oldest of ${exitsMax + 1} goes`, () => {
    const table = new Map<number, OriginEntry>();
    const all = Array.from({ length: exitsMax + 1 }, (_, i) =>
      entry({ pid: i + 1, phase: 'exited' }),
    );
    applyEntries(table, all);
    assert.equal(table.size, exitsMax);
    assert(!table.has(1) && table.has(2));
  });
});

describe('vproc: held numbers', () => {
  test('pids, threads, groups and sessions of my range in use elsewhere, and no others', () => {
    const emigrant = entry({ pid: 65_540, node: 2, tids: [65_541], pgid: 65_539, sid: 65_539 });
    const foreign = entry({ pid: 131_080, node: 2, pgid: 65_550, sid: 65_550 });
    const home = entry({ pid: 65_600, node: 1 });
    const dead = entry({ pid: 65_601, node: 2, phase: 'exited' });
    const q = { node: 1, pidBits: 16, local: new Set([65_539]) } as const;
    const wanted = heldNumbers([emigrant, foreign, home, dead], q);
    assert.deepEqual(wanted, [65_540, 65_541, 65_550]);
    const todo = holding(new Set([65_540, 65_700]), wanted);
    assert.deepEqual(todo, { hold: [65_541, 65_550], release: [65_700] });
  });
});

describe('vproc: move set', () => {
  const kin = (pid: number, ppid: number, pgid: number, sid: number) => ({ pid, ppid, pgid, sid });
  const all = [kin(10, 0, 10, 10), kin(11, 10, 11, 10), kin(12, 11, 11, 10), kin(20, 0, 20, 20)];
  const q = { group: false, initPids: [0, 1] };
  test('a session leader moves with all its descendants, parents first', () => {
    const set = moveSet(all, { ...q, pid: 10 });
    assert.deepEqual(
      set.tasks.map((t) => t.pid),
      [10, 11, 12],
    );
    assert.deepEqual(set.reasons, []);
  });
  test('EPARENT and ESESSION: a child without its parent and session', () => {
    const codes = moveSet(all, { ...q, pid: 12 }).reasons.map((r) => r.code);
    assert.deepEqual([...new Set(codes)].sort(), ['EPARENT', 'ESESSION']);
  });
  test('ESESSION: an orphan of the session would stay', () => {
    const set = moveSet([...all, kin(13, 0, 11, 10)], { ...q, pid: 10 });
    assert.deepEqual(
      set.reasons.map((r) => [r.code, r.pid]),
      [['ESESSION', 13]],
    );
  });
  test('a group begins at its topmost member', () => {
    const set = moveSet(all, { pid: 12, group: true, initPids: [0, 10] });
    assert.deepEqual(
      set.tasks.map((t) => t.pid),
      [11, 12],
    );
  });
  test('numbers are pids, threads, groups and sessions, once each', () => {
    const tasks = all.slice(0, 3).map((t) => ({ ...t, tids: [t.pid + 100] }));
    assert.deepEqual(numbersOf(tasks), [10, 11, 12, 110, 111, 112]);
  });
});

describe('vproc: signals', () => {
  test('names as kill -l spells them', () => {
    const names = [1, 9, 15, 31, 34, 35, 64].map(signalName);
    assert.deepEqual(names, [
      'SIGHUP',
      'SIGKILL',
      'SIGTERM',
      'SIGSYS',
      'SIGRTMIN',
      'SIGRTMIN+1',
      'SIGRTMIN+30',
    ]);
    assert(validSignal(0) && validSignal(64) && !validSignal(33) && !validSignal(65));
    assert(maySignal(0, 5) && maySignal(5, 5) && !maySignal(5, 0));
  });
  test('a group answers ok if anyone got it, else the refusal that says most', () => {
    const none = { ok: false, errno: 'ESRCH', detail: '' } as const;
    const denied = { ok: false, errno: 'EPERM', detail: '' } as const;
    const got = { ok: true, value: { delivered: 2 } } as const;
    assert.deepEqual(mergeDeliveries([none, denied, got]), { ok: true, value: { delivered: 2 } });
    const refused = mergeDeliveries([none, denied]);
    assert(!refused.ok && refused.errno === 'EPERM');
    const empty = mergeDeliveries([]);
    assert(!empty.ok && empty.errno === 'ESRCH');
  });
});

describe('vproc: records', () => {
  test('the source is never resumed from committing on, and never told by both sides', () => {
    for (const [phase, next] of Object.entries(sourceEntry)) {
      const p = phase as keyof typeof sourceEntry;
      assert.equal(sourceMayResume(p), next === 'resuming' || next === 'aborting');
      assert.equal(sourceTells(p) === undefined, !sourceMayResume(p));
    }
    assert.equal(targetTells('prepared'), 'doubt');
    assert.equal(targetTells('resumed'), 'live');
    assert.equal(targetTells('destroying'), undefined);
  });
});

describe('vproc: exec table', () => {
  const seen = (pid: number, startTicks: number, more: Partial<ScannedProcess> = {}) => ({
    ...{ pid, startTicks, ppid: 0, pgid: pid, sid: pid, tids: [], state: 'running' as const },
    ...{ command: '', uid: 0, rssBytes: 0, cpuMs: 0, ...more },
  });
  const q = {
    identify: () => undefined,
    bornHere: (r: { startTicks: number }) => r.startTicks,
    isOwner: () => false,
  };
  test('another user of a number is gone and new, not changed', () => {
    const first = applyScan(new Map(), [seen(7, 1)], q);
    const second = applyScan(first.table, [seen(7, 2)], q);
    assert.deepEqual(
      second.gone.map((e) => e.startTicks),
      [1],
    );
    assert.deepEqual(
      second.changed.map((e) => e.born),
      [2],
    );
  });
  test('what origin would not notice is no change; a new thread is', () => {
    const { table } = applyScan(new Map(), [seen(7, 1)], q);
    assert.equal(
      applyScan(table, [seen(7, 1, { cpuMs: 5, state: 'sleeping' })], q).changed.length,
      0,
    );
    assert.equal(applyScan(table, [seen(7, 1, { tids: [8] })], q).changed.length, 1);
  });
  test('children, and daemons of the same session, hold the streams of who was run', () => {
    const identify = (r: { pid: number }) =>
      r.pid === 7 ? { hop: 0, born: 1, owner: 7 } : undefined;
    const child = seen(8, 2, { ppid: 7, pgid: 7, sid: 7 });
    const orphan = seen(9, 3, { pgid: 7, sid: 7 });
    const { table } = applyScan(new Map(), [seen(7, 1), child, orphan], { ...q, identify });
    assert.deepEqual(
      [...table.values()].map((e) => e.owner),
      [7, 7, 7],
    );
  });
});
