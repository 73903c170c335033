// Mastership moves to the node that uses a resource most. The master stops granting, tells the nodes that hold
// locks there that its mastership is over, then tells the directory, which names the other one: that fetches what is
// held, as after a loss. Whoever dies on the way leaves what recovery mends: either the master still says that it is
// one, or all holders know that theirs is lost. [VMS DLM: LOCKDIRWT, PE1: remastering by activity]
import type { dlm, MovedValue, Reply, ReplyOf, RequestOf } from '@ssi/contracts';
import { sleep } from '@ssi/ports';
import type { LocalNode } from './local-node.ts';
import type { Mastered } from './mastered.ts';
import { writesValue } from './modes.ts';
import type { Token } from './resource.ts';
import { somebodyWaits } from './shown.ts';
import { isNewer, nameOf } from './tokens.ts';

/**
 * By so many operations a node must lead. A move costs what about 6 operations of another node do beyond those of the
 * master's own (`npm run bench locks`): one that was in vain adds at most a third to what led to it.
 */
export const moveLeadDefault = 16;
/** Between two moves of a resource. */
const restDefaultMs = 1_000;
/** Moves at a time. */
const movesMax = 64;
const retryMs = 20;
/** For how long what a directory said before a move is refused: none is on its way for longer. */
const pastMs = 60_000;

export interface MovingDeps {
  readonly node: LocalNode;
  /** Operations; see `moveLeadDefault`. 0: nothing moves. */
  readonly moveLead: number;
  readonly moveRestMs?: number | undefined;
  readonly moving: (to: number, q: RequestOf<typeof dlm.ops.moving>) => Promise<Reply<unknown>>;
  readonly yield: (
    to: number,
    q: RequestOf<typeof dlm.ops.yield>,
  ) => Promise<Reply<ReplyOf<typeof dlm.ops.yield>>>;
}

/** Which node leads: the majority is left over when each other's operation cancels one of its. [Boyer, Moore 1981] */
export interface Lead {
  node: number;
  by: number;
}

/** No lead is over `byMax`, however long it took: what was long ago counts no more. */
function count(lead: Lead, node: number, byMax: number): void {
  if (lead.node === node) lead.by = Math.min(lead.by + 1, byMax);
  else if (lead.by > 0) lead.by--;
  else Object.assign(lead, { node, by: 1 });
}

export class Moving {
  readonly #d: MovingDeps;
  readonly #drop: (m: Mastered) => void;
  #busy = 0;
  /** What was given up: only what is newer makes this node master again. */
  readonly #past = new Map<string, { readonly since: Token; readonly atMs: number }>();
  /** Masterships that were given to another node. */
  moved = 0;

  /** `drop`: this node is not master of it any more. */
  constructor(deps: MovingDeps, drop: (m: Mastered) => void) {
    this.#d = deps;
    this.#drop = drop;
  }

  /** After each request and conversion. */
  count(m: Mastered, node: number): void {
    count(m.lead, node, 2 * this.#d.moveLead);
    this.consider(m);
  }

  /** Gives the resource up where it is time to, and nobody waits, so that no turn is lost. */
  consider(m: Mastered): void {
    const { moveLead, moveRestMs = restDefaultMs, node } = this.#d;
    if (moveLead === 0 || m.lead.by < moveLead || m.lead.node === node.num) return;
    if (m.recovering || somebodyWaits(m.resource) || this.#busy >= movesMax) return;
    if (m.movedMs !== undefined && node.clock.nowMs() - m.movedMs < moveRestMs) return;
    if (!node.up().includes(m.lead.node)) return;
    m.yielding = true;
    m.recovering = Promise.withResolvers();
    this.#busy++;
    void this.#move(m, m.lead.node).finally(() => {
      this.#busy--;
    });
  }

  async #move(m: Mastered, to: number): Promise<void> {
    const { node } = this.#d;
    const { key } = m;
    const since = nameOf(m.tokens);
    await Promise.all(usersOf(m).map((num) => this.#tell(m, num, since)));
    for (;;) {
      const { life } = node;
      if (node.stopped || life === undefined) return;
      const directory = node.directoryOf(key);
      const reply =
        directory === undefined
          ? undefined
          : await this.#d.yield(directory, {
              ...{ life, key, transid: node.transid, since, to },
              ...{ users: usersOf(m), moved: movedValueOf(m) },
            });
      if (!reply?.ok) {
        await sleep(node.clock, retryMs);
        continue;
      }
      this.moved++;
      this.#past.set(key, { since: reply.value.since, atMs: node.clock.nowMs() });
      this.#drop(m);
      m.recovering?.resolve();
      return;
    }
  }

  /** Until it knows, or is dead and fenced. */
  async #tell({ key }: Mastered, num: number, since: Token): Promise<void> {
    const { node } = this.#d;
    for (;;) {
      const { life } = node;
      if (node.stopped || life === undefined || node.lives.alive(num) === undefined) return;
      if ((await this.#d.moving(num, { life, key, since })).ok) return;
      await sleep(node.clock, retryMs);
    }
  }

  /** Whether that name is of before the mastership was given up here. */
  isPast(key: string, since: Token): boolean {
    const past = this.#past.get(key);
    return past !== undefined && !isNewer(since, past.since);
  }

  sweep(): void {
    const untilMs = this.#d.node.clock.nowMs() - pastMs;
    for (const [key, { atMs }] of this.#past) if (atMs < untilMs) this.#past.delete(key);
  }
}

const usersOf = (m: Mastered): number[] => [...new Set([...m.locks.values()].map((l) => l.node))];

function movedValueOf({ resource, locks }: Mastered): MovedValue {
  const { value, valueSeq, valueInvalid } = resource;
  const writer = [...locks.values()].find((l) => l.granted !== undefined && writesValue(l.granted));
  return {
    ...(value && { value }),
    ...{ valueSeq, valueInvalid },
    ...(writer && { writer: writer.lkid }),
  };
}
