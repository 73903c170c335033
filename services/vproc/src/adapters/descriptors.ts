// Open descriptors of a process as /proc shows them. [proc_pid_fd(5), proc_pid_fdinfo(5)]
import {
  closeSync,
  fstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statfsSync,
} from 'node:fs';
import { cfsType, type MountTypes, mountTypes } from './proc-tables.ts';

export interface Descriptor {
  readonly fd: number;
  /** `/path`, `pipe:[ino]`, `socket:[ino]`, `anon_inode:...` */
  readonly link: string;
  /** Flags of open(2). */
  readonly flags: number;
  /** Type of the file system that it is on; undefined: on no mount that its process sees. */
  readonly mount: string | undefined;
  /** 0: a kernel that does not tell (before 5.14). */
  readonly ino: number;
  /** `major:minor` of a device. */
  readonly device?: string;
  readonly fifo?: true;
  /** A POSIX message queue. */
  readonly queue?: true;
  /** A terminal's master: the number of its slave. */
  readonly ttyIndex?: number;
  /** inotify: types of the file systems that it watches. */
  readonly watches?: readonly string[];
  /** A lock that excludes others is on it; one for reading can be held by both copies at once. */
  readonly locked?: true;
}

/** Any of flock(2) and fcntl(2) but those for reading; leases too. [proc_locks(5)] */
const exclusiveLock = /^lock:(?!\s+\d+: (FLOCK|POSIX|OFDLCK)\s+\S+\s+READ\b)/m;

/** Empty where the process is gone. */
export function readDescriptors(pid: number): Descriptor[] {
  const types = mountTypes(pid);
  if (types.byId.size === 0) return [];
  return numbers(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return [readDescriptor(pid, fd, types)];
    } catch {
      return []; // closed meanwhile
    }
  });
}

/** A program that runs may open another file under the number while it is read: then it is read again. */
const readsMax = 100;

function readDescriptor(pid: number, fd: number, types: MountTypes): Descriptor {
  for (let reads = 1; ; reads++) {
    const seen = openSync(`/proc/${pid}/fd/${fd}`, oPath);
    try {
      const info = readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'latin1');
      if (placeIn(info) !== placeIn(readFileSync(`/proc/self/fdinfo/${seen}`, 'latin1')))
        if (reads < readsMax) continue;
      return describe(fd, seen, info, types);
    } finally {
      closeSync(seen);
    }
  }
}

/** Of open(2); not in Node's constants. */
const oPath = 0o10000000;

const placeIn = (info: string): string => info.match(/^(mnt_id|ino):.*/gm)?.join() ?? '';

function describe(fd: number, seen: number, info: string, types: MountTypes): Descriptor {
  const link = readlinkSync(`/proc/self/fd/${seen}`);
  const mount = types.byId.get(Number(/^mnt_id:\s*(\d+)/m.exec(info)?.[1]));
  const ttyIndex = /^tty-index:\s*(\d+)/m.exec(info)?.[1];
  const watches = [...info.matchAll(/^inotify .*? sdev:([0-9a-f]+)/gm)].flatMap(
    ([, dev = '0']) => types.byDevice.get(kernelDevice(Number.parseInt(dev, 16))) ?? [],
  );
  return {
    ...{ fd, link, mount },
    flags: Number.parseInt(/^flags:\s*(\d+)/m.exec(info)?.[1] ?? '0', 8),
    ino: Number(/^ino:\s*(\d+)/m.exec(info)?.[1] ?? 0),
    ...kindOf(seen, link, mount),
    ...(ttyIndex ? { ttyIndex: Number(ttyIndex) } : {}),
    ...(watches.length > 0 ? { watches } : {}),
    ...(exclusiveLock.test(info) ? { locked: true } : {}),
  };
}

/** Only where they lead. */
export const readLinks = (pid: number): string[] =>
  numbers(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
    } catch {
      return [];
    }
  });

/** MQUEUE_MAGIC. [linux/magic.h] */
const mqueueMagic = 0x19800202;

function kindOf(
  seen: number,
  link: string,
  mount: string | undefined,
): Pick<Descriptor, 'device' | 'fifo' | 'queue'> {
  // Of the cluster file system only its server knows: not asked in passing.
  if (!link.startsWith('/') || mount === cfsType) return {};
  // A queue is opened on a mount of the IPC namespace that no mountinfo lists.
  if (mount === undefined && statfsSync(`/proc/self/fd/${seen}`).type === mqueueMagic)
    return { queue: true };
  const stat = fstatSync(seen);
  if (stat.isFIFO()) return { fifo: true };
  if (!stat.isCharacterDevice() && !stat.isBlockDevice()) return {};
  // Node's rdev is the library's encoding. [makedev(3)]
  const minor = (stat.rdev & 0xff) | ((stat.rdev >> 12) & 0xfff00);
  return { device: `${(stat.rdev >> 8) & 0xfff}:${minor}` };
}

/** The kernel's own encoding, as fdinfo prints it: twenty bits of minor. */
const kernelDevice = (dev: number): string => `${dev >>> 20}:${dev & 0xfffff}`;

function numbers(path: string): number[] {
  try {
    return readdirSync(path).map(Number);
  } catch {
    return [];
  }
}
