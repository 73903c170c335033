// Which control groups a program is put in where vproc runs in another container than the node's guard.
import { expect, test } from 'vitest';
import { guardGroups } from '../src/adapters/control-groups.linux.ts';

const files = (q: { self: string; guard: string; mounts: string }) => (path: string) =>
  path === '/proc/self/cgroup' ? q.self : path === '/proc/1/cgroup' ? q.guard : q.mounts;
const mount = (root: string, point: string, type: string, options: string) =>
  `30 20 0:25 ${root} ${point} rw,nosuid shared:9 - ${type} cgroup ${options}`;

test('vproc: control groups, version 1: the guard’s in every hierarchy but that of the programs', () => {
  const read = files({
    self: '5:cpu,cpuacct:/docker/b\n4:freezer:/docker/b\n3:name=systemd:/\n0::/\n',
    guard: '5:cpu,cpuacct:/docker/a\n4:freezer:/docker/a\n3:name=systemd:/\n0::/\n',
    mounts: [
      mount('/', '/sys/fs/cgroup/cpu,cpuacct', 'cgroup', 'rw,cpu,cpuacct'),
      mount('/', '/sys/fs/cgroup/freezer', 'cgroup', 'rw,freezer'),
      mount('/', '/sys/fs/cgroup/systemd', 'cgroup', 'rw,xattr,name=systemd'),
      mount('/', '/sys/fs/cgroup/unified', 'cgroup2', 'rw'),
    ].join('\n'),
  });
  expect(guardGroups('/sys/fs/cgroup/freezer/docker/a/programs', read)).toEqual([
    '/sys/fs/cgroup/cpu,cpuacct/docker/a/cgroup.procs',
  ]);
});

test('vproc: control groups, version 2: the programs group is all there is', () => {
  const read = files({
    self: '0::/system.slice/docker-b.scope\n',
    guard: '0::/system.slice/docker-a.scope\n',
    mounts: mount('/', '/sys/fs/cgroup', 'cgroup2', 'rw'),
  });
  expect(guardGroups('/sys/fs/cgroup/system.slice/docker-a.scope/programs', read)).toEqual([]);
});

test('vproc: control groups: in one container with the guard there is nothing to add', () => {
  const same = '4:freezer:/x\n5:cpu:/x\n';
  const mounts = mount('/', '/sys/fs/cgroup/cpu', 'cgroup', 'rw,cpu');
  const read = files({ self: same, guard: same, mounts });
  expect(guardGroups('/sys/fs/cgroup/unified/ssi/c/n1/programs', read)).toEqual([]);
});
