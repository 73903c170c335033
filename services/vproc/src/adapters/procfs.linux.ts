// The Processes port on /proc and the programs cgroup. Written for speed: a scan of a thousand processes
// reads a stat file for each, and what cannot change (command line, threads of the single-threaded, user
// while the start is the same) is read once or not at all. [proc_pid_stat(5), cgroups(7)]
import { readdirSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fail, ok } from '@ssi/contracts';
import { errnoName, sendSignal } from '@ssi/linux';
import type { Clock } from '@ssi/ports';
import type { Processes, ScannedProcess } from '../ports.ts';
import { followExits } from './exits.linux.ts';

/** USER_HZ: the unit of times in /proc, 100 on every Linux for x86_64 and aarch64. */
const ticksPerSecond = 100;
const pageBytes = 4096;
const commandMax = 4096;

/** What stays while a process (pid and start) lives, unless it executes another program. */
interface Known {
  readonly startTicks: number;
  readonly comm: string;
  command: string;
  uid: number;
  /** Scans until command and uid are read again: execve and setuid leave no trace in stat. */
  age: number;
}
const knownMaxAge = 20;

const states: Readonly<Record<string, ScannedProcess['state']>> = {
  R: 'running',
  S: 'sleeping',
  D: 'disk',
  T: 'stopped',
  t: 'traced',
  Z: 'zombie',
  X: 'zombie',
  I: 'idle',
};

export function linuxProcesses(options: {
  /** `cgroup.procs` of the programs cgroup. */
  readonly cgroupProcs: string;
  readonly nodeDir: string;
  readonly clock: Clock;
  /** In the programs cgroup, and no programs: passed over, with their children. */
  readonly helpers?: ReadonlySet<number>;
}): Processes {
  let known = new Map<number, Known>();

  const scanOne = (pid: number, next?: Map<number, Known>): ScannedProcess | undefined => {
    const stat = readStat(pid);
    if (!stat) return undefined;
    const before = known.get(pid);
    const same =
      before?.startTicks === stat.startTicks &&
      before.comm === stat.comm &&
      before.age < knownMaxAge;
    const facts: Known = same
      ? before
      : {
          startTicks: stat.startTicks,
          comm: stat.comm,
          command: '',
          uid: 0,
          age: pid % knownMaxAge,
        };
    if (!same) {
      facts.command = readCommand(pid, stat.comm);
      facts.uid = readUid(pid);
    } else facts.age += 1;
    next?.set(pid, facts);
    const { startTicks, ppid, pgid, sid, state, rssBytes, cpuMs } = stat;
    const tids = stat.threads > 1 ? readThreads(pid) : [];
    const { command, uid } = facts;
    return { pid, startTicks, ppid, pgid, sid, tids, state, command, uid, rssBytes, cpuMs };
  };

  return {
    scan: async () => {
      let text: string;
      try {
        text = readFileSync(options.cgroupProcs, 'latin1');
      } catch (error) {
        return fail('EIO', `${options.cgroupProcs}: ${(error as Error).message}`);
      }
      const next = new Map<number, Known>();
      const list: ScannedProcess[] = [];
      for (const line of text.split('\n')) {
        const pid = Number(line);
        if (pid === 0 || options.helpers?.has(pid)) continue;
        const process = scanOne(pid, next);
        if (process && !options.helpers?.has(process.ppid)) list.push(process);
      }
      known = next;
      return ok(list.sort((a, b) => a.pid - b.pid));
    },
    inspect: async (pid) => scanOne(pid),
    followExits: (from, onExits) => followExits(options, from, onExits),
    signal: async (target, signal, uid) => {
      if (!Number.isInteger(signal) || signal < 0 || signal > 64)
        return fail('EINVAL', `no signal ${signal}`);
      const stat = readStat(target.pid);
      if (!stat || (target.startTicks !== undefined && stat.startTicks !== target.startTicks))
        return fail('ESRCH', `no process ${target.pid}`);
      if (uid !== 0 && !(await mayBeSignalledBy(target.pid, uid)))
        return fail('EPERM', `process ${target.pid} belongs to another user`);
      const result = sendSignal(target.pid, signal);
      if (result === 0) return ok();
      const errno = errnoName(result);
      return fail(errno === 'EPERM' || errno === 'EINVAL' ? errno : 'ESRCH', `kill ${target.pid}`);
    },
  };
}

interface Stat {
  readonly comm: string;
  readonly state: ScannedProcess['state'];
  readonly ppid: number;
  readonly pgid: number;
  readonly sid: number;
  readonly threads: number;
  readonly startTicks: number;
  readonly rssBytes: number;
  readonly cpuMs: number;
}

/** undefined: no such process. Also of use to the other adapters. */
export function readStat(pid: number): Stat | undefined {
  const text = readOrEmpty(`/proc/${pid}/stat`);
  const end = text.lastIndexOf(')');
  if (end < 0) return undefined;
  const field = text.slice(end + 2).split(' '); // field[0] is the third of the manual page
  const number = (index: number): number => Number(field[index - 3]);
  return {
    comm: text.slice(text.indexOf('(') + 1, end),
    state: states[field[0] ?? ''] ?? 'sleeping',
    ppid: number(4) === 1 ? 0 : number(4),
    pgid: number(5),
    sid: number(6),
    threads: number(20),
    startTicks: number(22),
    rssBytes: number(24) * pageBytes,
    cpuMs: ((number(14) + number(15)) * 1000) / ticksPerSecond,
  };
}

/** Thread ids other than the pid, ascending. */
export function readThreads(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`)
      .map(Number)
      .filter((tid) => tid !== pid)
      .sort((a, b) => a - b);
  } catch {
    return [];
  }
}

/** Child processes of every thread, in no order. [proc_pid_task(5): children] */
export function readChildren(pid: number): number[] {
  return [pid, ...readThreads(pid)].flatMap((tid) =>
    readOrEmpty(`/proc/${pid}/task/${tid}/children`)
      .split(' ')
      .filter((word) => word !== '')
      .map(Number),
  );
}

function readCommand(pid: number, comm: string): string {
  const text = readOrEmpty(`/proc/${pid}/cmdline`, 'utf8');
  if (text === '') return `[${comm}]`;
  return text.replace(/\0+$/, '').replaceAll('\0', ' ').slice(0, commandMax);
}

function readUid(pid: number): number {
  const uid = /^Uid:\t\d+\t(\d+)/m.exec(readOrEmpty(`/proc/${pid}/status`));
  return Number(uid?.[1] ?? 0);
}

/** kill(2): the sender's uid must be the target's real or saved one. */
async function mayBeSignalledBy(pid: number, uid: number): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/status`, 'latin1').catch(() => '');
  const uids = /^Uid:\t(\d+)\t\d+\t(\d+)/m.exec(status);
  return Number(uids?.[1]) === uid || Number(uids?.[2]) === uid;
}

function readOrEmpty(path: string, encoding: 'latin1' | 'utf8' = 'latin1'): string {
  try {
    return readFileSync(path, encoding);
  } catch {
    return '';
  }
}
