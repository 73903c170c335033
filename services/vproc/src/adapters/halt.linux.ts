// The Halter port by SIGSTOP and /proc: a process stands still, with all its threads, while another node
// starts the program that takes its place. [signal(7), proc_pid_stat(5)]
import { readFileSync, readlinkSync } from 'node:fs';
import { fail, ok } from '@ssi/contracts';
import { sendSignal } from '@ssi/linux';
import { type Clock, sleep } from '@ssi/ports';
import type { Halter } from '../ports.ts';
import { readStat, readThreads } from './procfs.linux.ts';

const SIGCONT = 18;
const SIGSTOP = 19;
const haltTimeoutMs = 5_000;
const lookAgainMs = 1;

export function linuxHalter(clock: Clock): Halter {
  return {
    halt: async (ref) => {
      const before = readStat(ref.pid);
      if (before?.startTicks !== ref.startTicks) return fail('ESRCH', `no process ${ref.pid}`);
      const stoppedBefore = before.state === 'stopped';
      const untilMs = clock.nowMs() + haltTimeoutMs;
      sendSignal(ref.pid, SIGSTOP);
      while (!standsStill(ref.pid)) {
        if (readStat(ref.pid)?.startTicks !== ref.startTicks)
          return fail('ESRCH', `process ${ref.pid} ended`);
        if (clock.nowMs() > untilMs) {
          if (!stoppedBefore) sendSignal(ref.pid, SIGCONT);
          return fail('EIO', `process ${ref.pid} does not stop`);
        }
        await sleep(clock, lookAgainMs);
      }
      try {
        const status = readFileSync(`/proc/${ref.pid}/status`, 'latin1');
        const id = (name: string): number =>
          Number(new RegExp(`^${name}:\\t\\d+\\t(\\d+)`, 'm').exec(status)?.[1] ?? 0);
        const cwd = readlinkSync(`/proc/${ref.pid}/cwd`);
        return ok({ atMs: clock.nowMs(), stoppedBefore, cwd, uid: id('Uid'), gid: id('Gid') });
      } catch {
        return fail('ESRCH', `process ${ref.pid} ended`);
      }
    },
  };
}

const standsStill = (pid: number): boolean =>
  readStat(pid)?.state === 'stopped' &&
  readThreads(pid).every((tid) => stateOf(`/proc/${pid}/task/${tid}/stat`) === 'T');

/** `T` where it is stopped, or gone. */
function stateOf(path: string): string {
  try {
    const text = readFileSync(path, 'latin1');
    return text.slice(text.lastIndexOf(')') + 2, text.lastIndexOf(')') + 3);
  } catch {
    return 'T';
  }
}
