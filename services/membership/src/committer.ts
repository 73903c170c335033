// Commits: one at a time, each a compare-and-set on the one key. An answer that got lost leaves a
// commit in doubt: the same bytes are sent again until the store says which it was, and until then
// nothing else is committed. A store that forgot is refilled, never obeyed.
import type { Errno, Reply, View } from '@ssi/contracts';
import { fail, ok } from '@ssi/contracts';
import type { Clock, Kv, Log, Random } from '@ssi/ports';
import { sleep } from '@ssi/ports';
import { type ClusterRecord, decodeRecord, encodeRecord, recordKey, recordOf } from './record.ts';
import { judge } from './recovery.ts';

export type CommitErrno = 'EAGAIN' | 'EREMCHG' | 'ETIMEDOUT' | 'EHOSTUNREACH';

export interface Found {
  readonly record: ClusterRecord | undefined;
  readonly revision: number;
}

export async function readRecord(kv: Kv): Promise<Reply<Found, 'ETIMEDOUT' | 'EHOSTUNREACH'>> {
  const got = await kv.get(recordKey);
  if (!got.ok) return got;
  if (!got.value) return ok({ record: undefined, revision: 0 });
  return ok({ record: decodeRecord(got.value.value), revision: got.value.revision });
}

export interface Committer {
  /**
   * Writes the view that `change` makes of the newest one; what is asked for at one time is one transition.
   * `change` runs when its turn comes and may refuse; the same transid back: nothing to do. EREMCHG: another
   * master wrote, this one's term is over.
   */
  commit<E extends Errno>(
    change: (view: View) => Reply<View, E>,
  ): Promise<Reply<View, E | CommitErrno>>;
  /** Puts the master's record back where the store forgot it. */
  refill(): Promise<void>;
}

interface Asked {
  readonly change: (view: View) => Reply<View, Errno>;
  readonly answer: (reply: Reply<View, Errno>) => void;
}

export function createCommitter(q: {
  kv: Kv;
  clock: Clock;
  random: Random;
  log: Log;
  cluster: string;
  clusterId: string;
  view: View;
  revision: number;
  /** May this master still write? Asked before each write. */
  mayWrite: () => boolean;
  onCommitted: (view: View) => void;
  onLost: () => void;
  /** The term ended or the service stops: a commit in doubt is given up. */
  isOver: () => boolean;
}): Committer {
  let view = q.view;
  let revision = q.revision;
  let lost = false;
  const isOver = q.isOver;
  let tail: Promise<unknown> = Promise.resolve();
  /** Asked for while a write was under way: they go with the next one. */
  let waiting: Asked[] = [];

  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = tail.then(work);
    tail = result.catch(() => {});
    return result;
  }

  /** Another wrote: whose is it? True: the store forgot, write again on what it has now. */
  async function settle(writeId: string): Promise<'mine' | 'again' | 'lost' | 'away'> {
    const found = await readRecord(q.kv);
    if (!found.ok) return 'away';
    const { record } = found.value;
    if (record?.writeId === writeId) {
      revision = found.value.revision;
      return 'mine';
    }
    const verdict = judge(record, { clusterId: q.clusterId, view });
    if (verdict !== 'forgot') return 'lost';
    q.log.warn('the store forgot: refilling', {
      transid: view.transid,
      found: record?.view.transid,
    });
    revision = found.value.revision;
    return 'again';
  }

  async function write(next: View): Promise<Reply<View, CommitErrno>> {
    const writeId = q.random.hex(8);
    const { cluster, clusterId } = q;
    const bytes = encodeRecord(recordOf({ cluster, clusterId, writeId, view: next }));
    for (let inDoubt = false; ; ) {
      if (lost) return fail('EREMCHG', 'another master wrote');
      if (!inDoubt && !q.mayWrite()) return fail('EAGAIN', 'no mandate');
      const set = await q.kv.compareAndSet(recordKey, bytes, revision);
      if (set.ok) {
        revision = set.value;
        break;
      }
      if (set.errno === 'ETIMEDOUT') inDoubt = true;
      else if (set.errno === 'EAGAIN') {
        const whose = await settle(writeId);
        if (whose === 'mine') break;
        if (whose === 'lost') {
          lost = true;
          q.onLost();
          return fail('EREMCHG', 'another master wrote');
        }
        if (whose === 'again') {
          inDoubt = false;
          continue;
        }
        inDoubt = true;
      } else if (!inDoubt) return fail('EHOSTUNREACH', set.detail);
      if (isOver()) return fail('EREMCHG', 'this term is over');
      await sleep(q.clock, 100);
    }
    view = next;
    q.onCommitted(next);
    return ok(next);
  }

  /** All that waits as one transition: each change sees those before it. */
  async function writeWaiting(): Promise<void> {
    const group = waiting;
    waiting = [];
    const { transid } = view;
    let next = view;
    const refused = new Map<Asked, Reply<View, Errno>>();
    for (const asked of group) {
      const changed = lost
        ? fail('EREMCHG', 'another master wrote')
        : asked.change({ ...next, transid });
      if (!changed.ok) refused.set(asked, changed);
      else if (changed.value.transid !== transid) next = changed.value;
    }
    const written = next === view ? ok(view) : await write(next);
    for (const asked of group) asked.answer(refused.get(asked) ?? written);
  }

  return {
    commit: (change) =>
      new Promise<Reply<View, Errno>>((answer) => {
        waiting.push({ change, answer });
        if (waiting.length === 1) void inTurn(writeWaiting);
      }) as never,
    refill: () =>
      inTurn(async () => {
        if (lost || !q.mayWrite()) return;
        const found = await readRecord(q.kv);
        if (!found.ok) return;
        const { record } = found.value;
        const verdict = judge(record, { clusterId: q.clusterId, view });
        if (verdict === 'forgot') {
          revision = found.value.revision;
          q.log.warn('the store forgot: refilling', { transid: view.transid });
          // A transid of its own, so that whoever saw the store empty sees that it is filled again.
          await write({ ...view, transid: view.transid + 1 });
        } else if (record && record.view.term > view.term) {
          lost = true;
          q.onLost();
        } else revision = found.value.revision;
      }),
  };
}
