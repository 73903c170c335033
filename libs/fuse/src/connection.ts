// How a file system comes to be served: mounted anew, or continued on a descriptor that another had.
import { closeSync } from 'node:fs';
import { Device } from './device.ts';
import { errnoName } from './errno.ts';
import type { Filesystem } from './filesystem.ts';
import type { Negotiated } from './init.ts';
import {
  isMounted,
  type MountOptions,
  mountFd,
  mountTrouble,
  type UnmountKind,
  unmount,
} from './mount.ts';
import { Session, type SessionOptions } from './session.ts';

export interface Mounted {
  readonly session: Session;
  readonly target: string;
  /** 0 or the negative errno; resolves when the kernel has let go of it (`lazy`: of its place). */
  unmount(kind?: UnmountKind): Promise<number>;
}

/** Mounts a file system and serves it. Throws where it can't be mounted, and says why. */
export async function mount(
  fs: Filesystem,
  at: MountOptions,
  options: SessionOptions = {},
): Promise<Mounted> {
  const fd = Device.openFd();
  const session = new Session(fs, fd, options);
  const result = mountFd(fd, at);
  if (result < 0) {
    closeSync(fd);
    throw new Error(mountTrouble(result, at.target));
  }
  session.start();
  await session.negotiated;
  return {
    session,
    target: at.target,
    unmount: async (kind) => {
      if (!isMounted(at.target)) return 0;
      const done = await unmount(at.target, kind);
      if (done === 0 && kind !== 'lazy') await session.ended;
      return done;
    },
  };
}

/** Continues a connection of which this process was given a duplicate, as its predecessor agreed it. */
export async function resume(
  fs: Filesystem,
  fd: number,
  agreed: Negotiated,
  options: SessionOptions = {},
): Promise<Session> {
  const session = new Session(fs, fd, options, agreed);
  session.start();
  const asked = await session.askResend();
  if (asked < 0)
    (options.log ?? console.error)(
      `fuse: ${errnoName(asked)}: requests that the server before had read stay without an answer`,
    );
  return session;
}
