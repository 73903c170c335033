// A program is started at most once, and lost only with its node: when its last copy vanishes, its node
// died or was excluded, or somebody ended it. Also: its output has no gap and nothing twice.
import type { FakeProcess } from '@ssi/vproc';
import type { SimCluster } from '../cluster.ts';
import type { SimNode } from '../node.ts';
import { Violation } from '../world.ts';
import type { Checker } from './checker.ts';

interface Program {
  readonly pid: number;
  readonly token: string;
  /** Boots of nodes that have a copy now. */
  readonly on: Set<string>;
  /**
   * A node that died with a stopped copy, until the program runs again: in the middle of a commit the
   * source's copy is killed for the target's, and the program was the target's then.
   */
  diedWith: string | undefined;
  /** Why its last copy may vanish: a signal or an exit that somebody asked for. */
  mayEnd: string | undefined;
  gone: boolean;
}

/** The workload puts its token last on the command line. */
const tokenOf = (p: FakeProcess): string => p.command.split(' ').at(-1) ?? '';

export class LossesChecker implements Checker {
  readonly name = 'no process lost';
  readonly #cluster: SimCluster;
  readonly #programs = new Map<string, Program>();
  readonly #pidOf = new Map<string, number>();
  readonly #found = new Map<string, Set<string>>();
  readonly #running = new Set<string>();
  /** How often each may have begun anew: by rexec. */
  readonly #again = new Map<number, number>();

  constructor(cluster: SimCluster) {
    this.#cluster = cluster;
  }

  /** Living programs, by pid. */
  living(): number[] {
    return [...this.#programs.values()].filter((p) => !p.gone).map((p) => p.pid);
  }

  tokenOf(pid: number): string | undefined {
    return [...this.#programs.values()].find((p) => p.pid === pid && !p.gone)?.token;
  }

  /** Its next life under this number counts from 0 again. */
  mayBeginAgain(pid: number): void {
    this.#again.set(pid, (this.#again.get(pid) ?? 0) + 1);
  }

  /** From now on this program may end for that reason, wherever it is. */
  mayEnd(pid: number, why: string): void {
    for (const p of this.#programs.values()) if (p.pid === pid && !p.gone) p.mayEnd = why;
  }

  afterChange(): void {
    for (const set of this.#found.values()) set.clear();
    this.#running.clear();
    for (const node of this.#cluster.nodes) {
      if (node.machine.dead) continue;
      for (const p of node.machine.processes.values()) this.#see(node, p);
    }
    for (const program of this.#programs.values()) if (!program.gone) this.#follow(program);
  }

  #see(node: SimNode, p: FakeProcess): void {
    const key = `${p.pid} ${tokenOf(p)}`;
    if (p.state === 'running') this.#running.add(key);
    const on = this.#found.get(key);
    if (on) {
      on.add(node.boot);
      return;
    }
    const token = tokenOf(p);
    this.#found.set(key, new Set([node.boot]));
    // A child has its parent's command line: only the leader of a session was started by `run`.
    if (p.sid === p.pid) {
      const known = this.#pidOf.get(token);
      if (known !== undefined && known !== p.pid)
        throw new Violation('at most once', `${token} was started as ${known} and as ${p.pid}`);
      this.#pidOf.set(token, p.pid);
    }
    this.#programs.set(key, {
      pid: p.pid,
      token,
      on: new Set<string>(),
      diedWith: undefined,
      mayEnd: undefined,
      gone: false,
    });
  }

  #follow(program: Program): void {
    const key = `${program.pid} ${program.token}`;
    const now = this.#found.get(key);
    if (this.#running.has(key)) program.diedWith = undefined;
    if (now && now.size > 0) {
      for (const boot of program.on)
        if (!now.has(boot) && this.#isDead(boot)) program.diedWith = boot;
      program.on.clear();
      for (const boot of now) program.on.add(boot);
      return;
    }
    program.gone = true;
    const nodes = this.#cluster.nodes;
    const excused =
      program.mayEnd ??
      [...program.on].find((boot) => this.#isDead(boot)) ??
      program.diedWith ??
      [...program.on].find((boot) => nodes.some((n) => n.boot === boot && n.killing));
    this.#cluster.world.journal.event('checker', `${program.pid} is gone`, {
      was: [...program.on].join(),
      why: excused ?? 'nobody knows',
    });
    if (excused === undefined)
      throw new Violation(
        this.name,
        `${program.pid} (${program.token}) vanished from ${[...program.on].join()}, which lives`,
      );
  }

  #isDead(boot: string): boolean {
    return !this.#cluster.nodes.some((n) => n.up && n.boot === boot);
  }

  atEnd(): void {
    for (const node of this.#cluster.nodes)
      for (const p of node.machine.processes.values()) {
        if (p.owner !== p.pid) continue;
        const lines = node.machine.files.text(p.owner).split('\n').slice(0, -1);
        // Children write to their parent's streams too: each writer counts for itself.
        const next = new Map<string, number>();
        let again = this.#again.get(p.pid) ?? 0;
        for (const line of lines) {
          const [pid = '', count = ''] = line.split(' ');
          if (Number(count) === (next.get(pid) ?? 0)) {
            next.set(pid, Number(count) + 1);
            continue;
          }
          // A number may have been used again: another child of the program begins at 0. So does rexec.
          const begins = count === '0' && (Number(pid) !== p.owner || again-- > 0);
          if (!begins)
            throw new Violation(
              'output',
              `${p.pid}: after ${pid} ${(next.get(pid) ?? 0) - 1} came ${line}`,
            );
          next.set(pid, Number(count) + 1);
        }
      }
  }
}
