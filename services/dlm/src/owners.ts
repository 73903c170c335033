// The processes that sessions belong to: their locks go as soon as vproc's origin of the pid knows that they
// have ended, wherever they ran by then. A session of which no process is known lasts until it is not heard of.
import { rangeOf } from '@ssi/contracts';
import { processEnd } from '@ssi/ics';
import type { LocalNode } from './local-node.ts';
import type { Sessions } from './sessions.ts';

export class Owners {
  readonly #node: LocalNode;
  readonly #sessions: Pick<Sessions, 'hasOf' | 'exited' | 'follows'>;
  readonly #watched = new Set<number>();

  constructor(node: LocalNode, sessions: Pick<Sessions, 'hasOf' | 'exited' | 'follows'>) {
    this.#node = node;
    this.#sessions = sessions;
  }

  /** Until it ends, or until nobody wants to know any more. Idempotent. */
  watch(pid: number | undefined): void {
    const { view } = this.#node;
    if (pid === undefined || !view || rangeOf(pid, view.pidBits) < 1) return;
    this.#sessions.follows(pid, true);
    if (this.#watched.has(pid)) return;
    this.#watched.add(pid);
    void this.#follow(pid).finally(() => this.#watched.delete(pid));
  }

  async #follow(pid: number): Promise<void> {
    const { clock, ics } = this.#node;
    const isWanted = () => !this.#node.stopped && this.#sessions.hasOf(pid);
    const end = await processEnd({ ics, clock, view: () => this.#node.view, isWanted }, pid);
    if (end === 'ended') this.#sessions.exited(pid);
    // No process of the cluster: a service or an engine started it beside them.
    else if (end === 'unknown') this.#sessions.follows(pid, false);
  }
}
