// What is done about losses: a node that died (in membership's step, after its fence) and a lock manager that was
// started again. What was mastered there is lost: each directory node hears all others, names new masters, and
// these fetch what is held. [VMS DLM, fs/dlm/recoverd.c: recovery]
import {
  type dlm,
  fail,
  findMember,
  type MemberId,
  ok,
  type Reply,
  type ReplyOf,
  type RequestOf,
  rendezvous,
  sameIncarnation,
  talksIn,
} from '@ssi/contracts';
import { sleep } from '@ssi/ports';
import type { Copies } from './copies.ts';
import type { Directory } from './directory.ts';
import type { Driver } from './driver.ts';
import type { Homes, RebuiltLock } from './homes.ts';
import type { LocalNode } from './local-node.ts';
import type { Masters } from './masters.ts';
import { keyBytes, Page } from './page.ts';

type Round = RequestOf<typeof dlm.ops.census>;
interface Parts {
  readonly masters: Masters;
  readonly directory: Directory;
  readonly driver: Driver;
  readonly copies: Copies;
  readonly homes: Homes;
}

const viewMs = 1_000;
const stepViewMs = 5_000;
/** The step is acknowledged when all that was lost has a master again, or after this. */
const mendMs = 8_000;

export class Recovery {
  readonly #node: LocalNode;
  readonly #parts: Parts;
  /** Deaths that the view shows and whose step has not come. */
  readonly #pending = new Map<string, MemberId>();
  /** The newest round of each directory node that was told what this one is master of. */
  readonly #rounds = new Map<number, { readonly life: number; readonly round: number }>();

  constructor(node: LocalNode, parts: Parts) {
    this.#node = node;
    this.#parts = parts;
    node.onGone((num) => {
      parts.directory.masterLost(num);
      parts.driver.masterLost(num);
      parts.masters.gone(num);
    });
    node.onView((view, before) => {
      const wereUp = (before?.members ?? []).filter((m) => m.num !== node.num && talksIn(m.state));
      for (const { num, incarnation } of wereUp) {
        const now = findMember(view, num);
        if (now && talksIn(now.state) && sameIncarnation(now.incarnation, incarnation)) continue;
        this.#pending.set(incarnation.bootId, { num, incarnation });
      }
      // Its steps are over, or this node was not asked to take part.
      for (const dead of [...this.#pending.values()]) {
        const now = findMember(view, dead.num);
        const over =
          !now || now.state === 'DOWN' || !sameIncarnation(now.incarnation, dead.incarnation);
        if (over) this.#lost(dead);
      }
      const up = node.up().join();
      const wasUp = (before?.members ?? []).filter((m) => m.state === 'UP').map((m) => m.num);
      if (up !== wasUp.join()) parts.directory.rebuild();
    });
  }

  get mourning(): boolean {
    return this.#pending.size > 0;
  }

  /** Membership's step: the dead are fenced. */
  async nodedown(
    dead: readonly MemberId[],
    transid: number,
  ): Promise<Reply<Record<string, never>, 'EIO'>> {
    const node = this.#node;
    if (!(await node.atView(transid, stepViewMs)))
      return fail('EIO', `not at transid ${transid} yet`);
    // What has excluded this node itself is none of its business: its next life knows.
    for (const one of dead) if (one.num !== node.num) this.#lost(one);
    await Promise.race([this.#parts.homes.noneLost(), sleep(node.clock, mendMs)]);
    return ok({});
  }

  #lost({ num, incarnation }: MemberId): void {
    this.#pending.delete(incarnation.bootId);
    this.#node.lives.nodeOver(num, incarnation.bootCount);
  }

  /** Whether this node goes by what a directory node does. */
  async #agrees(q: Round): Promise<boolean> {
    const node = this.#node;
    return (await node.atView(q.transid, viewMs)) && node.up().join() === q.up.join();
  }

  async census(
    q: Round,
    from: number,
  ): Promise<Reply<ReplyOf<typeof dlm.ops.census>, 'EAGAIN' | 'ESTALE'>> {
    const node = this.#node;
    const { masters } = this.#parts;
    if (!(await this.#agrees(q)) || node.life === undefined)
      return fail('EAGAIN', 'not at your view');
    if (!node.lives.hear(from, q.life)) return fail('ESTALE', 'that life is over');
    node.lives.merge(q.lives);
    const newest = this.#rounds.get(from);
    if (newest && newest.life === q.life && newest.round > q.round)
      return fail('ESTALE', 'of a former round');
    // What the directory said before, and has not arrived yet, is worth nothing from here on.
    this.#rounds.set(from, { life: q.life, round: q.round });
    node.generation++;
    const { keys, more } = this.#share(masters.keys(), q, from);
    return ok({
      ...{ life: node.life, lives: node.lives.all(), more },
      masters: keys.flatMap((key) => {
        const tokens = masters.tokens(key);
        return tokens ? [{ key, tokens: { ...tokens } }] : [];
      }),
    });
  }

  async lost(
    q: Round,
    from: number,
  ): Promise<Reply<ReplyOf<typeof dlm.ops.lost>, 'EAGAIN' | 'ESTALE'>> {
    const node = this.#node;
    const { homes, copies } = this.#parts;
    if (!(await this.#agrees(q)) || node.life === undefined)
      return fail('EAGAIN', 'not at your view');
    if (!node.lives.hear(from, q.life)) return fail('ESTALE', 'that life is over');
    node.lives.merge(q.lives);
    if (this.mourning) return fail('EAGAIN', 'the nodedown step has not come yet');
    if (node.lives.knowsMoreThan(q.lives)) return fail('EAGAIN', 'newer lives are known here');
    const all = [...homes.lost()].map((home) => home.key);
    const { keys, more } = this.#share(all, q, from);
    const lost = keys.map((key) => ({ key, held: copies.held(key).length }));
    return ok({ life: node.life, lost, more });
  }

  /** Of these what is kept by that directory node, in order: a page of it. */
  #share(all: readonly string[], q: Round, from: number): { keys: string[]; more: boolean } {
    const { after = '' } = q;
    const its = all.filter((key) => key > after && rendezvous(`dlm:${key}`, q.up) === from).sort();
    const page = new Page();
    const keys = its.filter((key) => page.takes(keyBytes(key)));
    return { keys, more: keys.length < its.length };
  }

  remaster(
    q: RequestOf<typeof dlm.ops.remaster>,
    from: number,
  ): Reply<Record<string, never>, 'EREMCHG' | 'ESTALE'> {
    const node = this.#node;
    const { masters } = this.#parts;
    const told = this.#rounds.get(from);
    if (told?.life !== q.life || told.round !== q.round)
      return fail('ESTALE', 'not of the newest round');
    if (q.resources.some(({ key }) => node.directoryOf(key) !== from))
      return fail('EREMCHG', 'you are not the directory here');
    for (const { key, tokens, recover } of q.resources)
      masters.create(key, tokens, { recover, valueLost: true });
    return ok({});
  }

  /** What this node holds, for the new master of it. */
  rebuild(
    q: RequestOf<typeof dlm.ops.rebuild>,
    from: number,
  ): Reply<ReplyOf<typeof dlm.ops.rebuild>, 'EAGAIN' | 'ESTALE'> {
    const node = this.#node;
    const { homes, copies } = this.#parts;
    if (node.life === undefined) return fail('EAGAIN', 'starting');
    if (!q.resources.every(({ key, since }) => homes.takes(key, since))) {
      node.log.warn('a master that is none asks for locks', { from });
      return fail('ESTALE', 'there is a newer master');
    }
    const page = new Page();
    const locks: RebuiltLock[][] = [];
    for (const { key, since, after } of q.resources) {
      if (!page.takes(keyBytes(key))) break;
      if (after === undefined) homes.fetched(key, { node: from, life: q.life, since });
      const held = after === undefined ? copies.fetched(key) : copies.held(key);
      const its = held.filter((l) => l.lkid > (after ?? 0)).sort((a, b) => a.lkid - b.lkid);
      const some = its.filter((lock) => page.takes(lockBytes(lock)));
      locks.push(some);
      if (some.length < its.length) return ok({ life: node.life, locks, more: true });
    }
    return ok({ life: node.life, locks });
  }
}

const lockBytes = ({ ranges = [], value, who }: RebuiltLock): number =>
  320 + (value?.length ?? 0) + 48 * ranges.length + 4 * (who.label?.length ?? 0);
