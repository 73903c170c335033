// mount(2) and umount2(2) of a connection. The calls that end a mount run in a thread of libuv's pool: the
// kernel may ask the server things before they return. A server must never look at its own mount.
import { readFileSync } from 'node:fs';
import koffi from 'koffi';
import { errnoName } from './errno.ts';

const library = koffi.load(null);
const mountRaw = library.func(
  'int mount(const char *source, const char *target, const char *type, ulong flags, const char *data)',
);
const umountRaw = library.func('int umount2(const char *target, int flags)');

const flag = { RDONLY: 1, NOSUID: 2, NODEV: 4, NOEXEC: 8 } as const;
const umountFlag = { FORCE: 1, DETACH: 2 } as const;

export interface MountOptions {
  /** An empty directory, absolute. */
  readonly target: string;
  /** What mount(8) shows as the source. */
  readonly name: string;
  /** mount(8) shows the type `fuse.SUBTYPE`; absent: `fuse`. */
  readonly subtype?: string;
  /** Others than the mounting user may use it. Default: yes. */
  readonly allowOther?: boolean;
  /** The kernel checks permissions by the attributes. Default: yes. */
  readonly defaultPermissions?: boolean;
  readonly readOnly?: boolean;
  /** Default: yes, both: set-user-id programs and device files mean nothing on it. */
  readonly nosuid?: boolean;
  readonly nodev?: boolean;
}

/** Root's own mount, with CAP_SYS_ADMIN. 0 or the negative errno. */
export function mountFd(fd: number, o: MountOptions): number {
  const options = [`fd=${fd}`, 'rootmode=40000', 'user_id=0', 'group_id=0'];
  if (o.allowOther ?? true) options.push('allow_other');
  if (o.defaultPermissions ?? true) options.push('default_permissions');
  if (o.subtype !== undefined) options.push(`subtype=${o.subtype}`);
  let flags = 0;
  if (o.readOnly) flags |= flag.RDONLY;
  if (o.nosuid ?? true) flags |= flag.NOSUID;
  if (o.nodev ?? true) flags |= flag.NODEV;
  const result = mountRaw(o.name, o.target, 'fuse', flags, options.join(','));
  return result < 0 ? -koffi.errno() : 0;
}

/**
 * `plain`: as umount(8), -EBUSY while a file in it is open. `lazy`: gone from the tree at once, ended when
 * the last file is closed. `abort`: every request that waits ends with ECONNABORTED, and the mount is gone.
 */
export type UnmountKind = 'plain' | 'lazy' | 'abort';

export function unmount(target: string, kind: UnmountKind = 'plain'): Promise<number> {
  const { FORCE, DETACH } = umountFlag;
  const flags = { plain: 0, lazy: DETACH, abort: FORCE | DETACH }[kind];
  return new Promise((done) => {
    umountRaw.async(target, flags, (_: unknown, result: number) => {
      done(result < 0 ? -koffi.errno() : 0);
    });
  });
}

/** Whether something is mounted there in this process's mount namespace; asks no file system. [proc(5)] */
export const isMounted = (target: string): boolean =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .some((line) => line.split(' ')[4] === target.replaceAll(' ', '\\040'));

/** What a failed mount means and what to do. */
export function mountTrouble(result: number, target: string): string {
  const name = errnoName(result);
  const hint: Record<string, string> = {
    EPERM: 'it needs CAP_SYS_ADMIN: root, or a user and mount namespace of its own',
    ENOENT: 'there is no such directory',
    ENOTDIR: 'it is not a directory',
    EBUSY: 'it is a mount point already',
    ENODEV: 'this kernel has no FUSE: modprobe fuse',
    EINVAL: 'the descriptor is not one of /dev/fuse, or was mounted before',
  };
  return `mount on ${target}: ${name}: ${hint[name] ?? 'see mount(2)'}`;
}
