// What a client tells the next life of its lock manager: trees and what is under way.
import { expect, test } from 'vitest';
import { HeldLocks } from '../src/held-locks.ts';

const grant = (lkid: number, ranges?: { start: number; end: number; write: boolean }[]) => ({
  ...{ mode: 'EX' as const, valueInvalid: false },
  copy: { lkid, valueSeq: 0, valueKnown: false, ...(ranges && { ranges }) },
});
const asks = (ref: number, resource: string, parent?: number) => ({
  ...{ session: '1', ref, op: 1, lockspace: 'ls', resource, mode: 'EX' as const },
  ...(parent !== undefined && { parent }),
});
function tree(): HeldLocks {
  const held = new HeldLocks();
  held.granted(asks(1, 'top'), grant(1));
  held.granted(asks(2, 'middle', 1), grant(2));
  held.granted(asks(4, 'aside'), grant(4));
  held.granted(asks(3, 'leaf', 2), grant(3));
  // A later grant changes no order and keeps the place in the tree.
  held.granted({ ...asks(1, 'top'), op: 2 }, grant(1));
  held.granted({ ...asks(3, 'leaf'), op: 2 }, grant(3));
  return held;
}
const giving = (held: HeldLocks) => held.pages()[0]?.map((l) => (l.giving ? l.ref : 0));

test('locks: held: parents come before children, with the names above them', () => {
  const [page] = tree().pages();
  expect(page?.map(({ ref, op, parent, parents }) => [ref, op, parent, parents])).toEqual([
    [1, 2, undefined, undefined],
    [2, 1, 1, ['top']],
    [4, 1, undefined, undefined],
    [3, 2, 2, ['top', 'middle']],
  ]);
});

test('locks: held: a parent that goes by force takes all under it; without force it stays for them', () => {
  const held = tree();
  held.unlocking(1, { flags: [] }, true);
  expect(giving(held)).toEqual([1, 2, 0, 3]);
  held.stays(1);
  held.unlocking(1, { flags: [] }, false);
  expect(giving(held)).toEqual([0, 0, 0, 0]);
  held.stays(1);
  held.unlocking(3, { flags: [] }, false);
  expect(giving(held)).toEqual([0, 0, 0, 3]);
});

test('locks: held: what goes with a parent goes, whatever it was asked for; its own last value is written', () => {
  const held = tree();
  held.converting(2, { ...asks(2, 'middle'), op: 2, mode: 'NL' });
  held.unlocking(3, { flags: ['VALBLK'], value: Buffer.from('last') }, false);
  held.unlocking(1, { flags: [] }, true);
  const [, middle, , leaf] = held.pages()[0] ?? [];
  expect(middle?.giving).toEqual({ flags: [] });
  expect(leaf?.giving).toMatchObject({ flags: ['VALBLK'] });
});

test('locks: held: gone with its parent, a late grant does not bring it back', () => {
  const held = tree();
  expect(held.gone(1)).toEqual([1, 2, 3]);
  expect(held.granted({ ...asks(3, 'leaf'), op: 3 }, grant(3))).toBe(false);
  expect(held.granted(asks(5, 'leaf', 2), grant(5))).toBe(false);
  expect(held.pages()[0]?.map((l) => l.ref)).toEqual([4]);
});

test('locks: held: a range operation under way is named, a test is not; many pieces make more pages', () => {
  const held = new HeldLocks();
  const range = { type: 'none' as const, start: 0, length: 5 };
  held.granted(asks(1, 'f'), grant(1));
  held.converting(1, { ...asks(1, 'f'), op: 2, range });
  expect(held.pages()[0]?.[0]?.giving?.range).toEqual(range);
  held.converting(1, { ...asks(1, 'f'), op: 2, range, test: true });
  expect(held.pages()[0]?.[0]?.giving).not.toHaveProperty('range');
  const pieces = Array.from({ length: 1_000 }, (_, i) => ({
    start: 2 * i,
    end: 2 * i + 1,
    write: true,
  }));
  for (let ref = 2; ref <= 9; ref++) held.granted(asks(ref, 'f'), grant(ref, pieces));
  expect(held.pages().map((page) => page.length)).toEqual([6, 3]);
});
