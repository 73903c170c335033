// Open descriptors of a process as /proc shows them. [proc_pid_fd(5), proc_pid_fdinfo(5)]
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';

export interface Descriptor {
  readonly fd: number;
  /** `/path`, `pipe:[ino]`, `socket:[ino]`, `anon_inode:...` */
  readonly link: string;
  /** Flags of open(2). */
  readonly flags: number;
  readonly mountId: number;
  /** 0: a kernel that does not tell (before 5.14). */
  readonly ino: number;
  /** `major:minor` of a device. */
  readonly device?: string;
  /** A terminal's master: the number of its slave. */
  readonly ttyIndex?: number;
  /** inotify: devices of what it watches, as `major:minor`. */
  readonly watchedDevices?: readonly string[];
  /** A lock that excludes others is on it; one for reading can be held by both copies at once. */
  readonly locked?: true;
}

/** Any of flock(2) and fcntl(2) but those for reading; leases too. [proc_locks(5)] */
const exclusiveLock = /^lock:(?!\s+\d+: (FLOCK|POSIX|OFDLCK)\s+\S+\s+READ\b)/m;

/** Empty where the process is gone. */
export function readDescriptors(pid: number): Descriptor[] {
  return numbers(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      const link = readlinkSync(`/proc/${pid}/fd/${fd}`);
      const info = readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'latin1');
      const ttyIndex = /^tty-index:\s*(\d+)/m.exec(info)?.[1];
      const watched = [...info.matchAll(/^inotify .*? sdev:([0-9a-f]+)/gm)].map(([, dev = '0']) =>
        kernelDevice(Number.parseInt(dev, 16)),
      );
      const device = deviceOf(pid, fd, link);
      return [
        {
          ...{ fd, link },
          flags: Number.parseInt(/^flags:\s*(\d+)/m.exec(info)?.[1] ?? '0', 8),
          mountId: Number(/^mnt_id:\s*(\d+)/m.exec(info)?.[1] ?? 0),
          ino: Number(/^ino:\s*(\d+)/m.exec(info)?.[1] ?? 0),
          ...(device ? { device } : {}),
          ...(ttyIndex ? { ttyIndex: Number(ttyIndex) } : {}),
          ...(watched.length > 0 ? { watchedDevices: watched } : {}),
          ...(exclusiveLock.test(info) ? { locked: true } : {}),
        },
      ];
    } catch {
      return []; // closed meanwhile
    }
  });
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

function deviceOf(pid: number, fd: number, link: string): string | undefined {
  if (!link.startsWith('/dev/')) return undefined;
  const stat = statSync(`/proc/${pid}/fd/${fd}`);
  if (!stat.isCharacterDevice() && !stat.isBlockDevice()) return undefined;
  // Node's rdev is the library's encoding. [makedev(3)]
  return `${(stat.rdev >> 8) & 0xfff}:${(stat.rdev & 0xff) | ((stat.rdev >> 12) & 0xfff00)}`;
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
