// The closed list of errnos and the Reply that carries one. Numbers and names are Linux's and are
// contract for good; `detail` is for people, may change, and is never matched on. [errno(3)]
import { z } from 'zod';

export const errnoNumber = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  ENOEXEC: 8,
  EBADF: 9,
  ECHILD: 10,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  ENOTTY: 25,
  EFBIG: 27,
  ENOSPC: 28,
  EMLINK: 31,
  EPIPE: 32,
  ERANGE: 34,
  EDEADLK: 35,
  ENAMETOOLONG: 36,
  ENOLCK: 37,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ENOMSG: 42,
  EIDRM: 43,
  EREMCHG: 78,
  ENODATA: 61,
  EBADMSG: 74,
  EOVERFLOW: 75,
  EMSGSIZE: 90,
  EPROTONOSUPPORT: 93,
  EOPNOTSUPP: 95,
  EADDRINUSE: 98,
  EADDRNOTAVAIL: 99,
  ENETDOWN: 100,
  ECONNRESET: 104,
  ESHUTDOWN: 108,
  ETIMEDOUT: 110,
  ECONNREFUSED: 111,
  EHOSTDOWN: 112,
  EHOSTUNREACH: 113,
  EALREADY: 114,
  ESTALE: 116,
  ECANCELED: 125,
  EOWNERDEAD: 130,
} as const;

export type Errno = keyof typeof errnoNumber;
export const errno = z.enum(Object.keys(errnoNumber) as [Errno, ...Errno[]]);

/** Errnos that ICS itself may give for any call, whatever the operation lists (style: section 4). */
export type IcsErrno =
  | 'EPERM'
  | 'EAGAIN'
  | 'EHOSTDOWN'
  | 'EHOSTUNREACH'
  | 'ETIMEDOUT'
  | 'ESTALE'
  | 'ENOSYS'
  | 'EPROTONOSUPPORT'
  | 'EBADMSG'
  | 'ECANCELED'
  | 'EMSGSIZE';

export interface Failure<E extends Errno = Errno> {
  readonly ok: false;
  readonly errno: E;
  /** For people: what happened and what to do. */
  readonly detail: string;
  /** With EREMCHG: the node to ask instead. */
  readonly node?: number;
}
export interface Success<T> {
  readonly ok: true;
  readonly value: T;
}
export type Reply<T, E extends Errno = Errno> = Success<T> | Failure<E>;

export function ok(): Success<undefined>;
export function ok<T>(value: T): Success<T>;
export function ok<T>(value?: T): Success<T | undefined> {
  return { ok: true, value };
}

export function fail<E extends Errno>(errno: E, detail: string, node?: number): Failure<E> {
  return node === undefined ? { ok: false, errno, detail } : { ok: false, errno, detail, node };
}
