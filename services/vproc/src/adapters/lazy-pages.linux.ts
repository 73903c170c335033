// ssi-lazy: gives restored trees their memory while they run. It belongs to the programs, not to this
// process: it is in their cgroup, frozen and killed with them, and goes on when vproc ends.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { appendFile } from 'node:fs/promises';
import { fail, ok, type Reply } from '@ssi/contracts';
import type { Clock } from '@ssi/ports';

/** A page of a task's memory is not there yet, say the flags of its mapping. [proc_pid_smaps(5): um] */
const lacking = /^VmFlags:.* um\b/m;
const lookAgainMs = 5;
/** Nothing takes that long: 1 GB is filled in a second or two. */
const settleMax = 60_000;

interface LazyPagesOptions {
  readonly lazyPath: string;
  readonly imagesDir: string;
  /** One file for each ssi-lazy, named by its pid, so that the next vproc knows them too. */
  readonly stateDir: string;
  readonly cgroupProcs: readonly string[];
  readonly helpers: Set<number>;
  readonly clock: Clock;
}

export class LazyPages {
  readonly #options: LazyPagesOptions;
  readonly #waiting = new Map<string, Promise<ChildProcess | undefined>>();

  constructor(options: LazyPagesOptions) {
    this.#options = options;
    mkdirSync(options.stateDir, { recursive: true, mode: 0o700 });
    for (const pid of this.#alive()) options.helpers.add(pid);
  }

  /** Was memory of this move sent ahead? */
  wanted(moveId: string): boolean {
    return existsSync(`${this.#options.imagesDir}/${moveId}/ahead.map`);
  }

  /** Listens for criu in the move's folder. Idempotent. */
  async prepare(moveId: string): Promise<Reply<undefined, 'EIO'>> {
    const waiting = this.#waiting.get(moveId) ?? this.#start(moveId);
    this.#waiting.set(moveId, waiting);
    return (await waiting) ? ok() : fail('EIO', 'ssi-lazy does not start');
  }

  /** criu has come to it: from now on it ends by itself. */
  handedOver(moveId: string): void {
    this.#waiting.delete(moveId);
  }

  discard(moveId: string): void {
    void this.#waiting.get(moveId)?.then((child) => child?.stdin?.destroy());
    this.#waiting.delete(moveId);
  }

  /** Resolves when these processes have all of their memory. */
  async settled(pids: readonly number[]): Promise<Reply<undefined, 'EIO'>> {
    const { clock } = this.#options;
    const untilMs = clock.nowMs() + settleMax;
    while (this.#alive().length > 0 && pids.some(lacks)) {
      if (clock.nowMs() > untilMs) return fail('EIO', 'memory of its last move is still missing');
      await new Promise<void>((done) => void clock.after(lookAgainMs, done));
    }
    return ok();
  }

  async #start(moveId: string): Promise<ChildProcess | undefined> {
    const { lazyPath, imagesDir, stateDir, cgroupProcs, helpers } = this.#options;
    const child = spawn(lazyPath, [`${imagesDir}/${moveId}`], {
      stdio: ['pipe', 'pipe', 'ignore'],
      detached: true,
    });
    const { pid } = child;
    child.stdin?.on('error', () => {});
    const listening = new Promise<boolean>((done) => {
      child.stdout?.once('data', () => done(true));
      child.once('error', () => done(false));
      child.once('close', () => done(false));
    });
    if (pid === undefined) return undefined;
    const mark = `${stateDir}/${pid}`;
    writeFileSync(mark, '');
    helpers.add(pid);
    child.once('close', () => {
      helpers.delete(pid);
      rmSync(mark, { force: true });
    });
    try {
      for (const procs of cgroupProcs) await appendFile(procs, `${pid}\n`);
    } catch {
      // Outside of the cgroup it would run on where the programs are frozen, and outlive them.
      child.kill('SIGKILL');
      return undefined;
    }
    return (await listening) ? child : undefined;
  }

  #alive(): number[] {
    const { stateDir } = this.#options;
    return readdirSync(stateDir).flatMap((name) => {
      if (readOr(`/proc/${name}/comm`).trim() === 'ssi-lazy') return [Number(name)];
      rmSync(`${stateDir}/${name}`, { force: true });
      return [];
    });
  }
}

const lacks = (pid: number): boolean => lacking.test(readOr(`/proc/${pid}/smaps`));

function readOr(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
