// Byte-range locks: what the owners of a resource have locked of it, and who waits for a part. An owner is
// a lock of mode NL on the resource: for POSIX locks one of each process, for OFD locks one of
// each open file description. Plain data; `range-operations.ts` has what is done to it. [fcntl(2)]
import type { LockRange } from '@ssi/contracts';

/** Bytes `start` up to, not including, `end`. */
export interface Segment {
  readonly start: number;
  readonly end: number;
  readonly write: boolean;
}

/** Where "to the end" ends. */
export const farthest = Number.MAX_SAFE_INTEGER;

export const endOf = ({ start, length }: LockRange): number =>
  length === 0 ? farthest : Math.min(farthest, start + length);

export const lengthOf = ({ start, end }: Segment): number => (end === farthest ? 0 : end - start);

/**
 * The segments of one owner, in order and apart from each other, after it was given `wish`: what it had
 * there is replaced, split at the borders, and joined with neighbours of the same type.
 */
export function withRange(segments: readonly Segment[], wish: LockRange): Segment[] {
  const { start, type } = wish;
  const end = endOf(wish);
  const pieces = segments.flatMap((s) => [
    ...(s.start < start ? [{ ...s, end: Math.min(s.end, start) }] : []),
    ...(s.end > end ? [{ ...s, start: Math.max(s.start, end) }] : []),
  ]);
  if (type !== 'none') pieces.push({ start, end, write: type === 'write' });
  pieces.sort((a, b) => a.start - b.start);
  const joined: Segment[] = [];
  for (const piece of pieces) {
    const last = joined.at(-1);
    if (last && last.end === piece.start && last.write === piece.write)
      joined[joined.length - 1] = { ...last, end: piece.end };
    else joined.push(piece);
  }
  return joined;
}

/**
 * What an owner is sure to have while `wish` is under way to a master that is lost: what may have been
 * given up or made weaker there counts as that.
 */
export function lowered(segments: readonly Segment[], wish: LockRange): Segment[] {
  if (wish.type === 'none') return withRange(segments, wish);
  if (wish.type === 'write') return [...segments];
  const end = endOf(wish);
  let result = [...segments];
  for (const s of segments) {
    const from = Math.max(s.start, wish.start);
    const to = Math.min(s.end, end);
    if (s.write && from < to)
      result = withRange(result, { type: 'read', start: from, length: to - from });
  }
  return result;
}

/** The first of these that `wish` of another owner cannot be beside. */
export function obstacle(segments: readonly Segment[], wish: LockRange): Segment | undefined {
  if (wish.type === 'none') return undefined;
  const end = endOf(wish);
  // The first that ends after the start; the others before it are out of the way.
  let low = 0;
  for (let high = segments.length; low < high; ) {
    const middle = (low + high) >> 1;
    if ((segments[middle] as Segment).end <= wish.start) low = middle + 1;
    else high = middle;
  }
  for (let at = low; at < segments.length; at++) {
    const s = segments[at] as Segment;
    if (s.start >= end) return undefined;
    if (s.write || wish.type === 'write') return s;
  }
  return undefined;
}
