// Who has the standard streams of a program open, by looking at descriptors. Costs one readlink for each,
// so all programs are asked once in the life of a stream only. [proc_pid_fd(5)]
import { readdir, readFile, readlink } from 'node:fs/promises';
import type { Holders, ProcessRef, StreamPaths, StreamStore } from '../ports.ts';
import { readLinks } from './descriptors.ts';
import { readStat } from './procfs.linux.ts';

export function linuxHolders(options: {
  /** `cgroup.procs` of the programs cgroup. */
  readonly cgroupProcs: string;
  readonly streams: Pick<StreamStore, 'ownerAt'>;
}): Holders {
  return {
    async of(paths: StreamPaths): Promise<readonly ProcessRef[]> {
      // Without input it is everybody's /dev/null: that says nothing.
      const wanted = new Set<string>(Object.values(paths).filter((path) => path !== '/dev/null'));
      const pids = (await orEmpty(readFile(options.cgroupProcs, 'utf8')))
        .split('\n')
        .filter(Boolean);
      const found: ProcessRef[] = [];
      for (const text of pids) {
        const pid = Number(text);
        if (!(await hasOpen(pid, wanted))) continue;
        const stat = readStat(pid);
        if (stat) found.push({ pid, startTicks: stat.startTicks });
      }
      return found;
    },
    async ownerOf(pid) {
      for (const link of readLinks(pid)) {
        const owner = options.streams.ownerAt(link);
        if (owner !== undefined) return owner;
      }
      return undefined;
    },
  };
}

const orEmpty = (text: Promise<string>): Promise<string> => text.catch(() => '');

async function hasOpen(pid: number, wanted: ReadonlySet<string>): Promise<boolean> {
  const fds = await readdir(`/proc/${pid}/fd`).catch(() => []);
  for (const fd of fds)
    if (wanted.has(await orEmpty(readlink(`/proc/${pid}/fd/${fd}`)))) return true;
  return false;
}
