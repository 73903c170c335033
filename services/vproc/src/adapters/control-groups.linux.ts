// Where a program belongs besides the programs group: with the guard. Where this process runs in a container
// of its own its groups end with it, and version 1 has one for each hierarchy. [cgroups(7)]
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

interface Membership {
  /** Controllers, or `name=...`; empty: version 2. */
  readonly hierarchy: string;
  readonly path: string;
}

const memberships = (text: string): Membership[] =>
  text.split('\n').flatMap((line) => {
    const [, hierarchy, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    return hierarchy === undefined || path === undefined ? [] : [{ hierarchy, path }];
  });

/** Mount point of each hierarchy that is mounted whole. [proc_pid_mountinfo(5)] */
function mountPoints(mountinfo: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const line of mountinfo.split('\n')) {
    const [before = '', after = ''] = line.split(' - ');
    const [, , , root, point] = before.split(' ');
    const [type, , options = ''] = after.split(' ');
    if (root !== '/' || point === undefined) continue;
    if (type === 'cgroup2') found.set('', point);
    // Its options say which one it is, among others: rw, xattr, release_agent=...
    if (type === 'cgroup') for (const word of options.split(',')) found.set(word, point);
  }
  return found;
}

/**
 * `cgroup.procs` of the guard's group in each hierarchy in which this process is in another one, but for the
 * hierarchy of `programs`; none where both are in the same container.
 */
export function guardGroups(
  programs: string,
  read: (path: string) => string = (path) => readFileSync(path, 'utf8'),
): string[] {
  const own = new Map(memberships(read('/proc/self/cgroup')).map((m) => [m.hierarchy, m.path]));
  const points = mountPoints(read('/proc/self/mountinfo'));
  return memberships(read('/proc/1/cgroup')).flatMap(({ hierarchy, path }) => {
    const point = points.get(hierarchy.split(',')[0] ?? '');
    if (!point || own.get(hierarchy) === path || programs.startsWith(`${point}/`)) return [];
    return [join(point, path, 'cgroup.procs')];
  });
}
