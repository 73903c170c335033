// What the objects have in common: who calls, and which calls end with what. An object is plain data, its
// operations are functions that change it and say who is answered, in order; a call that is not answered waits.
import {
  fail,
  type IpcCred,
  type IpcErrno,
  type IpcPerm,
  type IpcResult,
  ok,
  type Reply,
} from '@ssi/contracts';

/** One call of one client. */
export interface Call {
  /** Names the call while it waits. */
  readonly id: number;
  /** Whose undo and open ends these are: a process on a single machine. */
  readonly owner: string;
  readonly cred: IpcCred;
}

export interface Settled {
  readonly id: number;
  readonly reply: Reply<IpcResult, IpcErrno>;
}

export const done = (id: number, result: IpcResult = {}): Settled => ({ id, reply: ok(result) });

export const refused = (id: number, errno: IpcErrno, detail: string = errno): Settled => ({
  id,
  reply: fail(errno, detail),
});

export const mayRead = 4;
export const mayWrite = 2;

/** [linux: ipc/util.c, ipcperms; svipc(7)] */
export function permits(perm: IpcPerm, who: IpcCred, wanted: number): boolean {
  if (who.uid === 0) return true;
  const shift =
    who.uid === perm.uid || who.uid === perm.cuid
      ? 6
      : who.gid === perm.gid || who.gid === perm.cgid
        ? 3
        : 0;
  return ((perm.mode >> shift) & wanted) === wanted;
}

/** Who may change or remove it. [msgctl(2): IPC_SET, IPC_RMID] */
export const owns = (perm: IpcPerm, who: IpcCred): boolean =>
  who.uid === 0 || who.uid === perm.uid || who.uid === perm.cuid;

/** Takes the call out of a queue of waiting ones; false: it is not there. */
export function withdraw(queue: { readonly id: number }[], id: number): boolean {
  const at = queue.findIndex((w) => w.id === id);
  if (at >= 0) queue.splice(at, 1);
  return at >= 0;
}
