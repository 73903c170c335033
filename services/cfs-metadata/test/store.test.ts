// The log: a crash at any byte of it, a full disk, damage, and requests that come again.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CfsMutation } from '@ssi/contracts';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  fileJournal,
  type Journal,
  memoryJournal,
  type Opened,
  type Outcome,
  repliesMax,
  Store,
} from '../src/index.ts';
import { anyMutation } from './mutations.ts';

const name = 'home';
function open(journal: Journal): Opened {
  const opened = Store.open(journal, name, [0, 0]);
  if (!opened.ok) throw new Error(opened.detail);
  return opened.value;
}
const at = (i: number, acknowledged = 0) => ({ client: 'n1-boot', id: i + 1, acknowledged });
const runAll = (store: Store, list: readonly CfsMutation[]): Outcome[] =>
  list.map((m, i) => store.execute(at(i), m));
const mutations = fc.array(anyMutation, { minLength: 1, maxLength: 10 });
const make = (i: number): CfsMutation => ({
  ...{ op: 'make', at: [i, 0], uid: 0, gid: 0, parent: 1, name: `f${i}`, mode: 0o100600 },
});

describe('CFS: the log', () => {
  test('a crash at any byte keeps what was acknowledged; what comes again is done once', () => {
    fc.assert(
      fc.property(mutations, (list) => {
        const journal = memoryJournal();
        const { store } = open(journal);
        const ends = [0];
        const replies: Outcome[] = [];
        const trees = [structuredClone(store.tree)];
        for (const [i, m] of list.entries()) {
          replies.push(store.execute(at(i), m));
          ends.push(journal.logBytes.length);
          trees.push(structuredClone(store.tree));
        }
        for (let cut = 0; cut <= journal.logBytes.length; cut++) {
          const left = memoryJournal(journal.snapshotBytes, journal.logBytes.slice(0, cut));
          const again = open(left);
          const whole = ends.findLastIndex((end) => end <= cut);
          expect(again.replayed).toBe(whole);
          expect(again.droppedBytes).toBe(cut - (ends[whole] ?? 0));
          expect(again.store.tree).toEqual(trees[whole]);
          expect(runAll(again.store, list)).toEqual(replies);
          expect(left.logBytes).toEqual(journal.logBytes);
        }
      }),
      { numRuns: 4 },
    );
  });

  test('a damaged byte is seen, and nothing after it is believed', () => {
    const journal = memoryJournal();
    const { store } = open(journal);
    runAll(store, [0, 1, 2, 3].map(make));
    for (let i = 0; i < journal.logBytes.length; i++) {
      const log = Uint8Array.from(journal.logBytes);
      log[i] = (log[i] ?? 0) ^ 0x40;
      const again = open(memoryJournal(journal.snapshotBytes, log));
      expect(again.droppedBytes).toBeGreaterThan(0);
      expect(again.store.tree.names.get(1)?.size).toBe(again.replayed);
    }
  });

  test('a full disk is ENOSPC, changes nothing, and is over when there is room', () => {
    const journal = memoryJournal();
    const { store } = open(journal);
    store.execute(at(0), make(0));
    const before = journal.logBytes;
    for (const room of [0, 1, 9, 30]) {
      journal.logMax = before.length + room;
      expect(store.execute(at(1), make(1))).toMatchObject({ ok: false, errno: 'ENOSPC' });
      expect(journal.logBytes).toEqual(before);
      expect(store.tree.names.get(1)?.size).toBe(1);
    }
    journal.logMax = Number.POSITIVE_INFINITY;
    expect(store.execute(at(1), make(1)).ok).toBe(true);
    expect(open(memoryJournal(journal.snapshotBytes, journal.logBytes)).store.tree).toEqual(
      store.tree,
    );
  });

  test('answers are kept until they are acknowledged, and no more than that', () => {
    const { store } = open(memoryJournal());
    for (let i = 0; i < repliesMax; i++) store.execute(at(i), make(i));
    expect(store.execute(at(repliesMax), make(9_999))).toMatchObject({ errno: 'EAGAIN' });
    expect(store.execute(at(repliesMax, 10), make(9_999)).ok).toBe(true);
    expect(store.execute(at(5), make(5))).toMatchObject({ errno: 'ESTALE' });
    expect(store.execute(at(10), make(10))).toMatchObject({ ok: true });
    expect(store.tree.names.get(1)?.size).toBe(repliesMax + 1);
  });

  test('a store of another file system, or without its snapshot, is refused', () => {
    const journal = memoryJournal();
    runAll(open(journal).store, [make(0)]);
    expect(Store.open(journal, 'other', [0, 0])).toMatchObject({ errno: 'ESTALE' });
    journal.snapshotBytes = new Uint8Array(0);
    expect(Store.open(journal, name, [0, 0])).toMatchObject({ errno: 'EIO' });
    journal.snapshotBytes = new Uint8Array([1, 2, 3]);
    expect(Store.open(journal, name, [0, 0])).toMatchObject({ errno: 'EIO' });
  });
});

const journals: Record<string, () => { reopen(): Journal; remove(): void }> = {
  memory: () => {
    const journal = memoryJournal();
    return { reopen: () => journal, remove: () => {} };
  },
  file: () => {
    const folder = mkdtempSync(join(tmpdir(), 'ssi-cfs-journal-'));
    let last: ReturnType<typeof fileJournal> | undefined;
    return {
      reopen: () => {
        last?.close();
        last = fileJournal(join(folder, 'new'));
        return last;
      },
      remove: () => {
        last?.close();
        rmSync(folder, { recursive: true });
      },
    };
  },
};

describe.each(Object.entries(journals))('CFS: journal: %s', (_, start) => {
  test('a snapshot and the log after it come back, also where the old log stayed', () => {
    const place = start();
    const journal = place.reopen();
    const { store } = open(journal);
    runAll(store, [make(0), make(1)]);
    const { log } = journal.read();
    expect(store.checkpoint().ok).toBe(true);
    expect(store.logBytes).toBe(0);
    store.execute(at(2), make(2));
    expect(store.sync().ok).toBe(true);
    const after = journal.read();
    expect(open(place.reopen()).store.tree).toEqual(store.tree);
    const torn = memoryJournal(
      Uint8Array.from(after.snapshot),
      Uint8Array.from(Buffer.concat([log, after.log])),
    );
    const again = open(torn);
    expect([again.replayed, again.droppedBytes]).toEqual([1, 0]);
    expect(again.store.tree).toEqual(store.tree);
    expect(again.store.execute(at(1), make(1))).toEqual(store.execute(at(1), make(1)));
    place.remove();
  });

  test('what is appended is there, what is cut is not', () => {
    const place = start();
    const journal = place.reopen();
    journal.append(Buffer.from('abc'));
    journal.append(Buffer.from('def'));
    expect(journal.truncate(4).ok).toBe(true);
    journal.append(Buffer.from('xy'));
    expect(Buffer.from(place.reopen().read().log).toString()).toBe('abcdxy');
    place.remove();
  });
});
