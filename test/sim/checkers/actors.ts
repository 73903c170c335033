// An actor counts each event once, in the order of its sender, and none that was acknowledged is lost;
// it is there once, and is lost only with its host or its node.
import { talksIn } from '@ssi/contracts';
import type { SimCluster } from '../cluster.ts';
import type { TallyEvent } from '../tally-actor.ts';
import { Violation } from '../world.ts';
import type { Checker } from './checker.ts';
import type { ViewsChecker } from './views.ts';

interface Sent {
  /** Highest number that ran; -1: none. */
  ran: number;
  /** Acknowledged, and not run yet. */
  readonly owed: Set<number>;
}

export class ActorsChecker implements Checker {
  readonly name = 'mailbox';
  readonly #cluster: SimCluster;
  readonly #sent = new Map<string, Sent>();
  /** Known to have been started. */
  readonly #started = new Set<number>();
  readonly #lost = new Set<number>();

  constructor(cluster: SimCluster, views: ViewsChecker) {
    this.#cluster = cluster;
    cluster.onActorRan((pid, event) => this.#ran(pid, event));
    cluster.onHostEnds((host) => {
      for (const { pid } of host.actors()) this.#lose(pid);
    });
    // A node that was excluded begins another life without its actors.
    views.onView((view, _, first) => {
      if (!first) return;
      for (const m of view.members)
        if (!talksIn(m.state))
          for (const { pid } of cluster.node(m.num).actorHost?.actors() ?? []) this.#lose(pid);
    });
  }

  /** Actors that are there, as far as anyone was told. */
  living(): number[] {
    return [...this.#started].filter((pid) => !this.#lost.has(pid));
  }
  started(pid: number): void {
    this.#started.add(pid);
  }
  /** Somebody signals it: from now on nobody minds whether it is there. */
  mayEnd(pid: number): void {
    if (this.#started.has(pid)) this.#lose(pid);
  }

  /** The sender of `event` was told that it counts. */
  acknowledged(pid: number, { name, n }: TallyEvent, answer: unknown, kind: 'ask' | 'send'): void {
    const sent = this.#of(pid, name);
    if (kind === 'ask' && answer !== n)
      this.#fault(`${pid} answered ${JSON.stringify(answer)} to ${name}${n}`);
    if (kind === 'ask' && sent.ran < n)
      this.#fault(`${pid} answered ${name}${n}, which did not run`);
    if (sent.ran < n) sent.owed.add(n);
  }

  #ran(pid: number, { name, n }: TallyEvent): void {
    const sent = this.#of(pid, name);
    if (n <= sent.ran) this.#fault(`${pid} ran ${name}${n} after ${name}${sent.ran}`);
    sent.owed.delete(n);
    for (const owed of sent.owed)
      if (owed < n)
        this.#fault(`${pid} ran ${name}${n} and never ${name}${owed}, which it had taken`);
    sent.ran = n;
  }

  atEnd(): void {
    for (const pid of this.living()) {
      const hosts = this.#cluster.nodes.filter((n) =>
        n.actorHost?.actors().some((a) => a.pid === pid),
      );
      if (hosts.length !== 1)
        throw new Violation(
          hosts.length === 0 ? 'no actor lost' : 'one copy',
          `actor ${pid} is on ${hosts.length} hosts: ${hosts.map((n) => n.num).join(', ')}`,
        );
    }
    for (const [key, { owed }] of this.#sent)
      if (owed.size > 0 && !this.#lost.has(Number(key.split(' ')[0])))
        throw new Violation(
          this.name,
          `${key} never ran ${[...owed].join(', ')}, which it had taken`,
        );
  }

  #lose(pid: number): void {
    if (this.#lost.has(pid)) return;
    this.#lost.add(pid);
    this.#cluster.world.journal.event('checker', `actor ${pid} is gone`);
  }
  #of(pid: number, name: string): Sent {
    const key = `${pid} ${name}`;
    const sent = this.#sent.get(key) ?? { ran: -1, owed: new Set<number>() };
    this.#sent.set(key, sent);
    return sent;
  }
  #fault(text: string): void {
    this.#cluster.world.violated(this.name, text);
  }
}
