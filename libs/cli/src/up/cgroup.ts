// The control groups of a node: <root>/ssi/<cluster>/n<k>/{programs,services}. Version 2 where it is
// mounted (alone or as `unified` beside version 1), else version 1's freezer. [cgroups(7)]
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { until } from './host.ts';

/** Folder of the hierarchy that can freeze, undefined where none is writable. */
export function cgroupRoot(): string | undefined {
  if (existsSync('/sys/fs/cgroup/cgroup.controllers')) return '/sys/fs/cgroup';
  if (existsSync('/sys/fs/cgroup/unified/cgroup.controllers')) return '/sys/fs/cgroup/unified';
  if (existsSync('/sys/fs/cgroup/freezer')) return '/sys/fs/cgroup/freezer';
  return undefined;
}

export const nodeCgroup = (root: string, cluster: string, num: number): string =>
  `${root}/ssi/${cluster}/n${num}`;

export function createNodeCgroup(path: string): { programs: string; services: string } {
  const made = { programs: `${path}/programs`, services: `${path}/services` };
  mkdirSync(made.programs, { recursive: true });
  mkdirSync(made.services, { recursive: true });
  return made;
}

const processesIn = (path: string): number[] => {
  try {
    return readFileSync(`${path}/cgroup.procs`, 'utf8').split('\n').filter(Boolean).map(Number);
  } catch {
    return [];
  }
};

/** Kills what is left in the group and its children, and removes them. */
export async function removeCgroup(path: string): Promise<boolean> {
  if (!existsSync(path)) return true;
  for (const entry of readdirSync(path, { withFileTypes: true }))
    if (entry.isDirectory()) await removeCgroup(`${path}/${entry.name}`);
  for (const [file, text] of [
    ['cgroup.kill', '1'],
    ['freezer.state', 'THAWED'],
  ] as const) {
    if (existsSync(`${path}/${file}`)) writeFileSync(`${path}/${file}`, text);
  }
  return until(() => {
    for (const pid of processesIn(path)) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It ended by itself meanwhile.
      }
    }
    try {
      rmdirSync(path);
      return true;
    } catch {
      return !existsSync(path);
    }
  }, 5_000);
}
