// What other nodes hold of a resource that is new here, or in doubt: fetched from each, and nothing is granted
// before all have said it. [fs/dlm/recover.c]
import type { dlm, Reply, ReplyOf, RequestOf } from '@ssi/contracts';
import { sleep } from '@ssi/ports';
import type { LocalNode } from './local-node.ts';
import type { HeldLock, Mastered } from './mastered.ts';
import { rank, writesValue } from './modes.ts';
import { enqueue } from './queue.ts';
import { keepRanges } from './range-operations.ts';
import { isUnused, newLock, type Resource } from './resource.ts';
import { isNewer, nameOf } from './tokens.ts';

type RebuildRequest = RequestOf<typeof dlm.ops.rebuild>;
type RebuildReply = ReplyOf<typeof dlm.ops.rebuild>;
type Rebuilt = RebuildReply['locks'][number];

const retryMs = 20;
/** Resources in one question to a node for what it holds. */
const rebuildMax = 500;

export interface FetchingDeps {
  readonly node: LocalNode;
  /** What a node holds. */
  readonly rebuild: (node: number, q: RebuildRequest) => Promise<Reply<RebuildReply>>;
  /** All is there: grants go on. */
  readonly recovered: (m: Mastered) => void;
}

export class Fetching {
  readonly #d: FetchingDeps;
  /** What is to be fetched from each node, after which lock; there while somebody does. */
  readonly #wanted = new Map<number, Map<Mastered, number | undefined>>();
  /** Resources whose master was lost and that are whole again. */
  remastered = 0;

  constructor(deps: FetchingDeps) {
    this.#d = deps;
  }

  /** Whether nodes are being asked what they hold. */
  get isBusy(): boolean {
    return this.#wanted.size > 0;
  }

  /** Nothing is granted before that node has said what it holds. */
  fetch(m: Mastered, num: number): void {
    if (this.#d.node.lives.alive(num) === undefined) return;
    m.recovering ??= Promise.withResolvers();
    m.awaited.add(num);
    const wanted = this.#wanted.get(num);
    if (wanted) {
      wanted.set(m, undefined);
      return;
    }
    this.#wanted.set(num, new Map([[m, undefined]]));
    void this.#fetchAll(num);
  }

  async #fetchAll(num: number): Promise<void> {
    const { node } = this.#d;
    const wanted = this.#wanted.get(num) ?? new Map<Mastered, number | undefined>();
    await Promise.resolve(); // so that what is wanted at once is asked for at once
    while (wanted.size > 0 && !node.stopped) {
      const life = node.lives.alive(num);
      if (life === undefined || node.life === undefined) break;
      const some = [...wanted].slice(0, rebuildMax);
      for (const [m] of some) wanted.delete(m);
      const resources = some.map(([{ key, tokens }, after]) => ({
        ...{ key, since: nameOf(tokens), ...(after !== undefined && { after }) },
      }));
      const reply = await this.#d.rebuild(num, { life: node.life, resources });
      const is = node.lives.alive(num);
      if (reply.ok && reply.value.life === is) {
        const { locks, more = false } = reply.value;
        some.forEach(([m, after], i) => {
          if (wanted.has(m)) return; // from the start again
          const its = locks[i];
          if (its) this.#add(m, num, is, its);
          if (!its) wanted.set(m, after);
          else if (more && i === locks.length - 1) wanted.set(m, its.at(-1)?.lkid ?? after);
          else this.#fetched(m, num);
        });
        continue;
      }
      for (const [m, after] of some) if (!wanted.has(m)) wanted.set(m, after);
      await sleep(node.clock, retryMs);
    }
    this.#wanted.delete(num);
    for (const m of wanted.keys()) this.#fetched(m, num);
  }

  #add(m: Mastered, num: number, life: number, locks: Rebuilt): void {
    if (!m.awaited.has(num)) return;
    for (const { ranges, ...one } of locks) {
      const { lkid, op, mode, bast, token, value, valueSeq, valueKnown, who } = one;
      if (m.locks.has(lkid)) continue;
      const rebuilt = { valueSeq, valueKnown, value };
      const lock: HeldLock = Object.assign(newLock(lkid, bast), {
        ...{ node: num, life, who, op, askedMs: 0, rebuilt, token, granted: mode },
        outcome: undefined,
      });
      m.locks.set(lkid, lock);
      enqueue(m.resource.granted, lock);
      if (ranges) keepRanges(m.resource, lock, ranges);
      const { tokens } = m.resource;
      if (token && isNewer(token, tokens.newest)) tokens.newest = token;
      // What it was giving up when its lock manager ended may not have got here.
      if (!m.valueUnknown && value && valueSeq > m.resource.valueSeq)
        Object.assign(m.resource, { value, valueSeq, valueInvalid: false });
    }
  }

  #fetched(m: Mastered, num: number): void {
    if (m.awaited.delete(num) && m.awaited.size === 0) this.#recovered(m);
  }

  /** All have said what they hold: the value block is the best that is left, and grants go on. */
  #recovered(m: Mastered): void {
    const { resource, recovering } = m;
    m.recovering = undefined;
    if (m.valueUnknown) {
      this.remastered++;
      recoverValue(resource, [...m.locks.values()]);
    }
    m.valueUnknown = false;
    for (const [lkid, mode] of m.doubtful)
      if (writesValue(mode) && !m.locks.has(lkid)) resource.valueInvalid = true;
    m.doubtful.clear();
    if (isUnused(resource)) m.idleSinceMs = this.#d.node.clock.nowMs();
    this.#d.recovered(m);
    recovering?.resolve();
  }
}

/**
 * The value block after its master was lost: the newest copy. It is valid only where a lock above CR is
 * left that knows it: no writer can have been beside that one. [fs/dlm/recover.c: recover_lvb]
 */
function recoverValue(r: Resource, locks: readonly HeldLock[]): void {
  let valid = false;
  for (const { granted, rebuilt } of locks) {
    if (!rebuilt) continue;
    if (granted && rank[granted] > rank.CR && rebuilt.valueKnown) valid = true;
    if (rebuilt.value && rebuilt.valueSeq >= r.valueSeq) {
      r.value = rebuilt.value;
      r.valueSeq = rebuilt.valueSeq;
    }
  }
  r.valueInvalid = !valid;
}
