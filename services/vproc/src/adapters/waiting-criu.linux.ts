// A criu that was started while the tree still ran elsewhere: it waits, in the programs cgroup already, for
// its arguments. What it restores is in that cgroup from its first instruction; putting a task there later
// costs the frozen tree 10 ms and more, for the kernel waits for a grace period. [cgroups(7)]
import { type ChildProcess, spawn } from 'node:child_process';
import { appendFile } from 'node:fs/promises';
import type { Log } from '@ssi/ports';
import { endOf, type RunResult } from './run-program.ts';

/** Arguments come a line each, an empty line is the word to go; an end before that: we died, so does it. */
const waitScript = `
while IFS= read -r argument; do
  [ -n "$argument" ] || exec "$@"
  set -- "$@" "$argument"
done`;
const shell = '/bin/sh';

interface Waiting {
  readonly child: ChildProcess;
  readonly ended: Promise<RunResult>;
  /** False: it is not in the cgroup. */
  readonly placed: Promise<boolean>;
}

interface WaitingCriusOptions {
  readonly criuPath: string;
  readonly cgroupProcs: readonly string[];
  /** Takes the pids of what is in the programs cgroup and no program. */
  readonly helpers: Set<number>;
  readonly log: Log;
}

export class WaitingCrius {
  readonly #options: WaitingCriusOptions;
  readonly #waiting = new Map<string, Waiting>();

  constructor(options: WaitingCriusOptions) {
    this.#options = options;
  }

  async prepare(moveId: string): Promise<void> {
    if (this.#waiting.has(moveId)) return;
    const { criuPath, cgroupProcs, helpers, log } = this.#options;
    const child = spawn(shell, ['-c', waitScript, shell, criuPath], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    // Gone before it was told anything: its end says so.
    child.stdin?.on('error', () => {});
    const { pid } = child;
    if (pid !== undefined) helpers.add(pid);
    const ended = endOf(child).finally(() => {
      if (pid !== undefined) helpers.delete(pid);
    });
    const place = async (): Promise<boolean> => {
      if (pid === undefined) return false;
      try {
        for (const procs of cgroupProcs) await appendFile(procs, `${pid}\n`);
        return true;
      } catch (error) {
        log.warn('criu waits outside of the programs cgroup', { detail: (error as Error).message });
        return false;
      }
    };
    const placed = place();
    this.#waiting.set(moveId, { child, ended, placed });
    await placed;
  }

  /** Runs the one that waits to its end; undefined: none does. */
  async run(
    moveId: string,
    args: readonly string[],
    timeoutMs: number,
  ): Promise<RunResult | undefined> {
    const waiting = this.#waiting.get(moveId);
    if (!waiting) return undefined;
    const { child, ended, placed } = waiting;
    const ready = (await placed) && !args.some((arg) => arg === '' || arg.includes('\n'));
    if (!ready || child.exitCode !== null || child.signalCode !== null) {
      this.discard(moveId);
      return undefined;
    }
    this.#waiting.delete(moveId);
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    child.stdin?.end(`${args.join('\n')}\n\n`);
    const result = await ended;
    clearTimeout(timer);
    return result;
  }

  /** Nothing will be restored. */
  discard(moveId: string): void {
    const waiting = this.#waiting.get(moveId);
    this.#waiting.delete(moveId);
    waiting?.child.stdin?.end();
  }
}
