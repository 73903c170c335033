// What a master shows of its resources: to people (`list`), and to the search for deadlocks (`waits`).
import { pathOf, type ResourceInfo } from '@ssi/contracts';
import type { SeenResource } from './deadlock.ts';
import { type HeldLock, heldRange, type Mastered } from './mastered.ts';
import { keyBytes } from './page.ts';
import { locksIn, type Queue } from './queue.ts';
import { blockersOf } from './range-operations.ts';
import { endOf } from './ranges.ts';
import type { Resource } from './resource.ts';
import { tokenText } from './tokens.ts';

/** Locks of each queue; who is behind these is looked at when it has come forward. */
const seenMax = 300;
/** Of those in the way of one that waits for a byte range. */
const blockersMax = 50;
/** So many locks of one queue are listed; the rest is a number too many for anybody to read. */
const listedMax = 250;

/** What waits there, and behind what. */
export function seenOf({ key, resource }: Mastered, nowMs: number): SeenResource {
  const { granted, converting, waiting, ranges } = resource;
  const seen = (locks: readonly HeldLock[]): SeenResource['granted'] =>
    locks.map(({ lkid, op, who, granted, requested, flags, askedMs }) => ({
      ...{ lkid, op, flags, waitedMs: requested === undefined ? 0 : nowMs - askedMs },
      ...(who.xid !== undefined && { xid: who.xid }),
      ...(granted !== undefined && { held: granted }),
      ...(requested !== undefined && { requested }),
    }));
  const want = (ranges?.waiting ?? []).slice(0, seenMax);
  return {
    ...{ key, granted: seen([...firstOf(granted, seenMax), ...want.map((w) => w.lock)]) },
    converting: seen(firstOf(converting, seenMax)),
    waiting: seen(firstOf(waiting, seenMax)),
    ...(ranges && {
      ranges: want.map(({ lock, wish }) => ({
        ...{ lkid: lock.lkid, blockers: blockersOf(ranges, lock, wish).slice(0, blockersMax) },
      })),
    }),
  };
}

export function infoOf(m: Mastered, master: number): ResourceInfo {
  const { granted, converting, waiting, ranges, valueInvalid } = m.resource;
  return {
    lockspace: m.key.slice(0, m.key.indexOf('/')),
    ...named(m.key),
    ...{ master, recovering: m.recovering !== undefined, valueInvalid },
    // Who waits for a byte range is on no queue, and holds his mode.
    granted: infos([...firstOf(granted, listedMax), ...(ranges?.waiting ?? []).map((w) => w.lock)]),
    converting: infos(firstOf(converting, listedMax)),
    waiting: infos(firstOf(waiting, listedMax)),
    ...rangeInfos(m),
  };
}

export const seenBytes = (r: SeenResource): number =>
  keyBytes(r.key) +
  200 * (r.granted.length + r.converting.length + r.waiting.length) +
  (r.ranges ?? []).reduce((sum, { blockers }) => sum + 32 + 9 * blockers.length, 0);

export const infoBytes = ({
  granted,
  converting,
  waiting,
  ranges = [],
  ...r
}: ResourceInfo): number =>
  [r.resource, ...(r.parents ?? [])].reduce((sum, name) => sum + keyBytes(name), 0) +
  [...granted, ...converting, ...waiting].reduce(
    (n, l) => n + 300 + 4 * (l.label?.length ?? 0),
    0,
  ) +
  100 * ranges.length;

export const somebodyWaits = (r: Resource): boolean =>
  r.converting.size + r.waiting.size + (r.ranges?.waiting.length ?? 0) > 0;

function firstOf(queue: Queue<HeldLock>, max: number): HeldLock[] {
  const first: HeldLock[] = [];
  for (const lock of locksIn(queue)) {
    if (first.length >= max) break;
    first.push(lock);
  }
  return first;
}

function infos(locks: readonly HeldLock[]): ResourceInfo['granted'] {
  return locks.slice(0, listedMax).map(({ lkid, node, who, granted, requested, token }) => ({
    ...{ lkid, node, ...who },
    ...(granted !== undefined && { granted }),
    ...(requested !== undefined && { requested }),
    ...(token && { token: tokenText(token) }),
  }));
}

const named = (key: string): Pick<ResourceInfo, 'resource' | 'parents'> => {
  const path = pathOf(key);
  const resource = path.at(-1) as string;
  return path.length > 1 ? { resource, parents: path.slice(0, -1) } : { resource };
};

function rangeInfos({ resource, locks }: Mastered): Pick<ResourceInfo, 'ranges'> {
  if (!resource.ranges) return {};
  const { held, waiting } = resource.ranges;
  const pidOf = (lkid: number) => locks.get(lkid)?.who.pid;
  const ranges = [
    ...[...held].flatMap(([lkid, segments]) =>
      segments.map((s) => ({ ...heldRange(s, lkid, pidOf(lkid)), waits: false })),
    ),
    ...waiting.map(({ lock, wish }) => {
      const segment = { start: wish.start, end: endOf(wish), write: wish.type === 'write' };
      return { ...heldRange(segment, lock.lkid, lock.who.pid), waits: true };
    }),
  ];
  return { ranges: ranges.slice(0, listedMax) };
}
