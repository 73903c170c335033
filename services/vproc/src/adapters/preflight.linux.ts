// The Preflight port by looking at /proc: one stable reason code for each thing that criu could not carry
// to another node, found before anyone is frozen. It errs on the side of silence: what it cannot see, the
// dump itself refuses later (EDUMP). [proc_pid_fd(5), proc_pid_fdinfo(5), proc_pid_maps(5)]
import { readFileSync, readlinkSync, statSync } from 'node:fs';
import { release } from 'node:os';
import { fail, type MoveReason, ok } from '@ssi/contracts';
import type { Preflight, StreamPaths } from '../ports.ts';
import { type Descriptor, readDescriptors, readLinks } from './descriptors.ts';
import { FileDigests } from './file-digests.ts';
import { inetReasons } from './inet-reasons.ts';
import { isBelow, neededFiles } from './needed-files.ts';
import {
  allPids,
  cfsMounts,
  cfsType,
  statusField,
  systemVUsers,
  unixPeers,
} from './proc-tables.ts';
import { readStat } from './procfs.linux.ts';

/** Kinds of anonymous inode that criu 4.2 cannot dump. */
const anonymous: readonly (readonly [RegExp, MoveReason['code']])[] = [
  [/io_uring/, 'EIOURING'],
  [/userfaultfd/, 'EUSERFAULTFD'],
  [/bpf/, 'EBPF'],
  [/perf_event/, 'EPERFFD'],
  [/landlock/, 'ELANDLOCK'],
];
/** Character devices that are the same on every node: null zero full random urandom, tty, ptmx. */
const plainDevices = new Set(['1:3', '1:5', '1:7', '1:8', '1:9', '5:0', '5:2']);
/** Files without a place in the tree, though their names look like one. */
const kernelOwn = /^\/(memfd:|dev\/zero|SYSV|anon_hugepage|\[)/;
/** UNIX98 terminals. [Documentation/admin-guide/devices.txt] */
const ptsMajors = [136, 143] as const;

/** `bus`: where the cluster's own bus is reached now, ADDRESS:PORT. */
export function linuxPreflight(bus: () => Promise<readonly string[]>): Preflight {
  const digests = new FileDigests();
  return {
    kernel: release,
    cpuFlags: readCpuFlags,
    inspect: async ({ pids, digests: withDigests, streams, addr }) => {
      const tree = pids.filter((pid) => readStat(pid));
      if (tree.length === 0) return fail('ESRCH', `no process ${pids[0] ?? ''}`);
      const descriptors = new Map(tree.map((pid) => [pid, readDescriptors(pid)]));
      const inet = inetReasons(tree, descriptors, { addr, bus: await bus() });
      const reasons = [
        ...tree.flatMap((pid) => taskReasons(pid)),
        ...tree.flatMap((pid) => deviceReasons(pid, descriptors, streams)),
        ...(await sharedReasons(tree, descriptors)),
        ...inet.reasons,
        ...systemVReasons(tree),
      ];
      const files = await neededFiles(
        tree,
        descriptors,
        streams,
        withDigests ? digests : undefined,
      );
      const bytesEstimate = tree.reduce((sum, pid) => sum + privateBytes(pid), 0);
      const onCfs = onClusterFiles(descriptors);
      return ok({ reasons, files, bytesEstimate, tcpEstablished: inet.tcpEstablished, onCfs });
    },
    opened: async ({ pids, streams, tcpEstablished }) => {
      const descriptors = new Map(pids.map((pid) => [pid, readDescriptors(pid)]));
      const reasons = pids.flatMap((pid) => deviceReasons(pid, descriptors, streams));
      if (!tcpEstablished) {
        const inet = inetReasons(pids, descriptors, { bus: await bus() });
        reasons.push(...inet.reasons);
        const detail = 'has just connected two of its own by TCP: ask again';
        if (inet.tcpEstablished) reasons.push({ code: 'ETCPADDR', detail });
      }
      return { reasons, onCfs: onClusterFiles(descriptors) };
    },
    checkFiles: async (files) => {
      const reasons: MoveReason[] = [];
      const cfs = cfsMounts();
      for (const { path, sizeBytes, digest } of files) {
        if (isBelow(cfs, path)) continue; // the same one everywhere
        const stat = statSync(path, { throwIfNoEntry: false });
        const why = !stat
          ? 'is missing'
          : sizeBytes >= 0 && stat.size !== sizeBytes
            ? `has ${stat.size} bytes, not ${sizeBytes}`
            : digest !== undefined && (await digests.of(path)) !== digest
              ? 'has other contents'
              : undefined;
        if (why) reasons.push({ code: 'ENOFILE', detail: `${path} ${why}` });
      }
      return reasons;
    },
    checkNumbers: async (numbers, held) => {
      const wanted = new Set(numbers);
      const busy = new Map<number, string>();
      for (const number of wanted)
        if (!held.includes(number) && readStat(number)) busy.set(number, 'a process or thread');
      for (const pid of allPids()) {
        const stat = readStat(pid);
        if (!stat || held.includes(pid)) continue;
        if (wanted.has(stat.pgid)) busy.set(stat.pgid, `the group of process ${pid}`);
        if (wanted.has(stat.sid)) busy.set(stat.sid, `the session of process ${pid}`);
      }
      return [...busy]
        .sort(([a], [b]) => a - b)
        .map(([pid, who]) => ({ code: 'EPIDBUSY', pid, detail: `${pid} is ${who} there` }));
    },
  };
}

function taskReasons(pid: number): MoveReason[] {
  const reasons: MoveReason[] = [];
  const add = (code: MoveReason['code'], detail: string): void => {
    reasons.push({ code, pid, detail });
  };
  const tracer = Number(statusField(pid, 'TracerPid') ?? 0);
  if (tracer > 0) add('EPTRACE', `process ${tracer} traces it`);
  if (namespaceOf(pid, 'user') !== namespaceOf('self', 'user'))
    add('EUSERNS', 'has a user namespace of its own');
  const maps = readOr(`/proc/${pid}/maps`);
  if (/ \/SYSV[0-9a-f]{8}/.test(maps) && !hasOwnIpc(pid))
    add('ESYSVIPC', 'has System V shared memory attached');
  if (/io_uring/.test(maps)) add('EIOURING', 'has an io_uring mapped');
  return reasons;
}

/** An IPC namespace that is not the node's: criu carries all that is in it. */
const hasOwnIpc = (pid: number): boolean => namespaceOf(pid, 'ipc') !== namespaceOf('self', 'ipc');

/**
 * Of the node's own namespace criu carries nothing, and says nothing: what a task of the tree made or used last
 * stays behind. One of the program's own would be there twice if somebody in it stayed.
 */
function systemVReasons(tree: readonly number[]): MoveReason[] {
  const own = tree.find(hasOwnIpc);
  if (own !== undefined) {
    const namespace = namespaceOf(own, 'ipc');
    const stays = allPids().find(
      (pid) =>
        !tree.includes(pid) && namespaceOf(pid, 'ipc') === namespace && isStranger(pid, tree),
    );
    if (stays === undefined) return [];
    return [{ code: 'ESYSVIPC', pid: own, detail: `its IPC namespace is process ${stays}'s too` }];
  }
  return systemVUsers().flatMap(({ kind, id, pids }) => {
    const pid = pids.find((user) => tree.includes(user));
    const detail = `uses System V ${kind} ${id}`;
    return pid === undefined ? [] : [{ code: 'ESYSVIPC' as const, pid, detail }];
  });
}

function deviceReasons(
  pid: number,
  tree: ReadonlyMap<number, readonly Descriptor[]>,
  streams: StreamPaths | undefined,
): MoveReason[] {
  const reasons = new Map<string, MoveReason>();
  const add = (code: MoveReason['code'], detail: string): void => {
    reasons.set(`${code} ${detail}`, { code, pid, detail });
  };
  const ownTerminals = new Set([...tree.values()].flat().flatMap(({ ttyIndex }) => ttyIndex ?? []));
  const own = new Set<string>(streams ? Object.values(streams) : []);
  for (const d of tree.get(pid) ?? []) {
    const { fd, link, device } = d;
    const name = `descriptor ${fd}: ${link}`;
    if (d.locked) add('ELOCK', `${name} is locked`);
    if (d.fifo && !own.has(link))
      add('EEXTERNALFD', `${name} is a FIFO: who else uses it would stay`);
    const kind = link.startsWith('anon_inode:') && anonymous.find(([form]) => form.test(link));
    if (kind) add(kind[1], name);
    if (d.watches?.includes('overlay')) add('EINOTIFY', `${name} watches an overlay file system`);
    if (link.startsWith('/') && !kernelOwn.test(link) && d.mount === undefined && !device) {
      if (d.queue) add('EPOSIXMQ', name);
      else add('EEXTERNALFD', `${name} is on a mount that is not its node's`);
    }
    if (!device || (streams && 'tty' in streams && link === streams.tty)) continue;
    const [major = 0, minor = 0] = device.split(':').map(Number);
    if (major >= ptsMajors[0] && major <= ptsMajors[1]) {
      if (!ownTerminals.has(minor)) add('ETTY', name);
    } else if (major === 4) add('ETTY', name);
    else if (!plainDevices.has(device)) add('EDEVICE', name);
  }
  return [...reasons.values()];
}

/** Inodes of the cluster file system that a tree has open. */
const onClusterFiles = (descriptors: ReadonlyMap<number, readonly Descriptor[]>): number[] => {
  const open = [...descriptors.values()].flat().filter((d) => d.mount === cfsType);
  return [...new Set(open.map((d) => d.ino))];
};

/** A chain this long is no chain: the pids were reused while it was read. */
const ancestorsMax = 256;

/**
 * True: neither in the tree nor forked by it since the tree was listed. One that ends while its
 * ancestors are read is nothing that stays.
 */
function isStranger(pid: number, tree: readonly number[]): boolean {
  let at = pid;
  for (let i = 0; i < ancestorsMax && at > 1; i++) {
    const parent = statusField(at, 'PPid');
    if (parent === undefined || tree.includes(Number(parent))) return false;
    at = Number(parent);
  }
  return true;
}

/** Pipes and sockets with one end inside and one outside: a move would cut them. */
async function sharedReasons(
  tree: readonly number[],
  descriptors: ReadonlyMap<number, readonly Descriptor[]>,
): Promise<MoveReason[]> {
  const inside = new Map<string, number>();
  for (const [pid, list] of descriptors)
    for (const { link } of list)
      if (/^(pipe|socket):/.test(link) && !inside.has(link)) inside.set(link, pid);
  if (inside.size === 0) return [];
  const reasons: MoveReason[] = [];
  const outside = new Set(tree.concat(process.pid, 1));
  for (const other of allPids().filter((pid) => !outside.has(pid)))
    for (const link of readLinks(other)) {
      const pid = inside.get(link);
      if (pid === undefined) continue;
      if (!isStranger(other, tree)) break;
      inside.delete(link);
      const detail = `${link} is shared with process ${other}`;
      reasons.push({ code: link.startsWith('pipe') ? 'EEXTERNALFD' : 'EUNIXPEER', pid, detail });
    }
  const sockets = [...inside].filter(([link]) => link.startsWith('socket:'));
  if (sockets.length === 0) return reasons;
  const peers = await unixPeers();
  for (const [link, pid] of sockets) {
    const peer = peers.get(inodeOf(link));
    if (peer && !inside.has(`socket:[${peer}]`))
      reasons.push({ code: 'EUNIXPEER', pid, detail: `${link}: its peer is not moved along` });
  }
  return reasons;
}

const inodeOf = (link: string): number => Number(/\[(\d+)\]/.exec(link)?.[1] ?? 0);

/** Memory that no file holds: what the images will have. */
const privateBytes = (pid: number): number =>
  (Number.parseInt(statusField(pid, 'RssAnon') ?? '0', 10) +
    Number.parseInt(statusField(pid, 'RssShmem') ?? '0', 10)) *
  1024;

function namespaceOf(pid: number | 'self', kind: 'user' | 'ipc'): string {
  try {
    return readlinkSync(`/proc/${pid}/ns/${kind}`);
  } catch {
    return readlinkSync(`/proc/self/ns/${kind}`); // it ended
  }
}

function readCpuFlags(): readonly string[] {
  const flags = /^(?:flags|Features)\s*:\s*(.*)$/m.exec(readOr('/proc/cpuinfo'))?.[1] ?? '';
  return flags
    .split(' ')
    .filter((flag) => flag !== '')
    .sort();
}

function readOr(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
