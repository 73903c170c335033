// The sessions of programs that do not know they have one: a session for each process, until that has ended, wherever
// it ran by then.
import { fail, ok, type Reply } from '@ssi/contracts';
import { processEnd } from '@ssi/ics';
import { type Clock, type Ics, sleep } from '@ssi/ports';
import type { LocalNode } from './local-node.ts';
import type { Sessions } from './sessions.ts';

const retryMs = 200;

interface ProgramSessionsDeps {
  readonly ics: Ics;
  readonly clock: Clock;
  readonly node: LocalNode;
  readonly sessions: Sessions;
  readonly isHere: (pid: number) => boolean;
}

export class ProgramSessions {
  readonly #d: ProgramSessionsDeps;
  readonly #byPid = new Map<number, string>();
  #opened: number;

  constructor(deps: ProgramSessionsDeps) {
    this.#d = deps;
    this.#opened = deps.clock.wallMs();
  }

  of(pid: number): Reply<string, 'EAGAIN'> {
    const known = this.#byPid.get(pid);
    if (known !== undefined) return ok(known);
    const { node, sessions } = this.#d;
    if (!node.isUp) return fail('EAGAIN', `node ${node.num} is not UP yet`);
    const hex = (n: number): string => (n % 2 ** 32).toString(16).padStart(8, '0');
    const id = `${hex(pid)}${hex(this.#opened++)}`;
    const opened = sessions.open(id, `pid ${pid}`, true);
    if (!opened.ok) return opened;
    this.#byPid.set(pid, id);
    void this.#untilEnded(pid).then(() => {
      this.#byPid.delete(pid);
      sessions.end(id);
    });
    return ok(id);
  }

  async #untilEnded(pid: number): Promise<void> {
    const { ics, clock, node, isHere } = this.#d;
    const isWanted = () => !node.stopped;
    while ((await processEnd({ ics, clock, view: () => node.view, isWanted }, pid)) === 'unknown') {
      // Forked a moment ago, or started by a service beside the cluster's processes: this node knows of it.
      if (!isHere(pid)) return;
      await sleep(clock, retryMs);
    }
  }
}
