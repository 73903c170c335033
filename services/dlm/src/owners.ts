// The processes that sessions belong to: their locks go as soon as vproc's origin of the pid knows that they
// have ended, wherever they ran by then. A session of which no process is known lasts until it is not heard of.
import { fail, originOf, type Reply, rangeOf, vproc } from '@ssi/contracts';
import { sleep } from '@ssi/ports';
import type { LocalNode } from './local-node.ts';
import type { Sessions } from './sessions.ts';

const retryMs = 200;

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
    for (let known = false; !this.#node.stopped && this.#sessions.hasOf(pid); ) {
      const { view } = this.#node;
      const origin = view && originOf(view, pid);
      const asked = { pid, reap: false };
      const reply: Reply<unknown> =
        origin === undefined
          ? fail('EHOSTUNREACH', 'nobody is its origin now')
          : await (known
              ? ics.call(vproc, 'wait', origin, asked)
              : ics.call(vproc, 'where', origin, { pid }));
      const isUnknown = !reply.ok && reply.errno === 'ESRCH';
      if (known && (reply.ok || isUnknown || reply.errno === 'ECHILD'))
        return this.#sessions.exited(pid);
      // No process of the cluster: a service or an engine started it beside them.
      if (isUnknown) return this.#sessions.follows(pid, false);
      known ||= reply.ok;
      if (!reply.ok) await sleep(clock, retryMs);
    }
  }
}
