// The host's own /proc: what really runs, whatever the cluster says. Programs under test carry a
// marker in their environment and are counted here by it, not by `ssi ps`.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

export interface HostTask {
  readonly pid: number;
  readonly state: string;
  /** Pid in the innermost pid namespace. */
  readonly nsPid: number;
  readonly command: string;
}

const read = (path: string): string => {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return ''; // It ended meanwhile.
  }
};

/** Whether a command line is of a service: of its source, or of the bundle of it. */
export const isService = (command: string, service: string): boolean =>
  command.includes(`services/${service}/src/main.ts`) || command.includes(`programs/${service}.js`);

/** Living processes whose environment holds `marker` (a string like `SSI_TEST_MARK=x`), zombies left out. */
export function markedTasks(marker: string): HostTask[] {
  const found: HostTask[] = [];
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    if (!read(`/proc/${name}/environ`).split('\0').includes(marker)) continue;
    const status = read(`/proc/${name}/status`);
    const state = /^State:\s+(\S)/m.exec(status)?.[1];
    if (!state || state === 'Z' || state === 'X') continue;
    const ns = /^NSpid:\s+(.*)$/m.exec(status)?.[1]?.split(/\s+/) ?? [name];
    found.push({
      pid: Number(name),
      state,
      nsPid: Number(ns.at(-1)),
      command: read(`/proc/${name}/cmdline`).replaceAll('\0', ' ').trim(),
    });
  }
  return found;
}

/** Copies that could execute: not stopped (T) by a move in work. */
export const runningCopies = (marker: string, nsPid: number): HostTask[] =>
  markedTasks(marker).filter((t) => t.nsPid === nsPid && t.state !== 'T' && t.state !== 't');

/**
 * Has the process a unix socket bound to this name? Which of two is active can't be told by the order of
 * their pids: the machine's numbers wrap at 32,768, and a standby that is stopped stops nothing.
 */
export function holds(pid: string | number, name: string): boolean {
  const inodes = readFileSync(`/proc/${pid}/net/unix`, 'latin1')
    .split('\n')
    .filter((line) => line.endsWith(` ${name}`))
    .map((line) => line.trim().split(/\s+/)[6]);
  return readdirSync(`/proc/${pid}/fd`).some((fd) => {
    try {
      const target = readlinkSync(`/proc/${pid}/fd/${fd}`);
      return inodes.some((inode) => target === `socket:[${inode}]`);
    } catch {
      return false; // It was closed meanwhile.
    }
  });
}
