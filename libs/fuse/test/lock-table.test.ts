// Ranges against an oracle: who holds each of 24 bytes, and how.

import { errno, LockTable, lockType } from '@ssi/fuse';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

const bytes = 24;
const request = fc
  .record({
    owner: fc.bigInt({ min: 1n, max: 3n }),
    a: fc.nat(bytes - 1),
    b: fc.nat(bytes - 1),
    type: fc.constantFrom(lockType.READ, lockType.WRITE, lockType.UNLOCK),
  })
  .map(({ owner, a, b, type }) => ({
    ...{ owner, type, pid: Number(owner), fh: Number(owner) },
    ...{ start: Math.min(a, b), end: Math.max(a, b) },
  }));

describe('FUSE: locks', () => {
  test('every byte is held by whom and as the requests say', () => {
    fc.assert(
      fc.property(fc.array(request, { maxLength: 30 }), (requests) => {
        const table = new LockTable();
        const held = Array.from({ length: bytes }, () => new Map<bigint, number>());
        for (const r of requests) {
          const mine = held.slice(r.start, r.end + 1);
          const refused =
            r.type !== lockType.UNLOCK &&
            mine.some((byte) =>
              [...byte].some(
                ([owner, type]) =>
                  owner !== r.owner && (type === lockType.WRITE || r.type === lockType.WRITE),
              ),
            );
          expect(table.set(r)).toBe(refused ? -errno.EAGAIN : 0);
          if (refused) continue;
          for (const byte of mine)
            r.type === lockType.UNLOCK ? byte.delete(r.owner) : byte.set(r.owner, r.type);
        }
        for (const [at, byte] of held.entries()) {
          const over = table.held.filter((l) => l.start <= at && at <= l.end);
          expect(new Map(over.map((l) => [l.owner, l.type]))).toEqual(byte);
          expect(over.length).toBe(byte.size);
        }
      }),
    );
  });

  test('who waits gets the lock in turn, or is interrupted', async () => {
    const table = new LockTable();
    const whole = { start: 0, end: Number.POSITIVE_INFINITY, pid: 1, fh: 1 };
    const write = (owner: bigint) => ({ ...whole, owner, type: lockType.WRITE });
    expect(table.set(write(1n))).toBe(0);
    const abort = new AbortController();
    const second = table.wait(write(2n), abort.signal);
    const third = table.wait(write(3n), new AbortController().signal);
    abort.abort();
    expect(await second).toBe(-errno.EINTR);
    table.drop((l) => l.owner === 1n);
    expect(await third).toBe(0);
    expect(table.held.map((l) => l.owner)).toEqual([3n]);
  });
});
