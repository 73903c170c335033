// libdlm by its own names, on top of the handle: what a program written for it looks for first.
// [libdlm: dlm_create_lockspace(3), dlm_ls_lock(3), dlm_ls_unlock(3)]
import { fail, type LockMode, ok, type Reply } from '@ssi/contracts';
import type { Ssi } from './handle.ts';
import type { Lock, LockOptions, Lockspace, LockspaceOptions, UnlockOptions } from './lockspace.ts';

/** Opens a lockspace; it is there when it is named. [dlm_create_lockspace(3), dlm_open_lockspace(3)] */
export const createLockspace = (
  ssi: Ssi,
  name: string,
  options?: LockspaceOptions,
): Promise<Reply<Lockspace>> => ssi.lockspace(name, options);

/** EBUSY: locks are held or waited for; with `force` they are given up. [dlm_release_lockspace(3)] */
export async function releaseLockspace(ls: Lockspace, force = false): Promise<Reply<undefined>> {
  if (ls.size > 0 && !force)
    return fail('EBUSY', `${ls.size} locks are left in ${ls.name}: give them up, or use force`);
  await ls.close();
  return ok();
}

/** Asks and goes on; `ast` is told the outcome. [dlm_ls_lock(3)] */
export function lsLock(
  ls: Lockspace,
  resource: string,
  mode: LockMode,
  ast: (outcome: Reply<Lock>) => void,
  options?: LockOptions,
): void {
  void ls.lock(resource, mode, options).then(ast);
}

/** Asks and waits. [dlm_ls_lock_wait(3)] */
export const lsLockWait = (
  ls: Lockspace,
  resource: string,
  mode: LockMode,
  options?: LockOptions,
): Promise<Reply<Lock>> => ls.lock(resource, mode, options);

/** Another mode for a held lock. [dlm_ls_lock_wait(3): LKF_CONVERT] */
export const lsConvertWait = (
  ls: Lockspace,
  lock: Lock,
  mode: LockMode,
  options?: LockOptions,
): Promise<Reply<Lock>> => ls.convert(lock, mode, options);

/** [dlm_ls_unlock_wait(3)] */
export const lsUnlock = (
  ls: Lockspace,
  lock: Lock,
  options?: UnlockOptions,
): Promise<Reply<undefined>> => ls.unlock(lock, options);

/** The same: nothing here goes on by itself. [dlm_ls_unlock_wait(3)] */
export const lsUnlockWait = lsUnlock;

/** Gives orphans up: of `node` (0: the one this process is at), of `pid` (0: of all). [dlm_ls_purge(3)] */
export const lsPurge = (ls: Lockspace, node = 0, pid = 0): Promise<Reply<number>> =>
  ls.purge({ ...(node !== 0 && { node }), ...(pid !== 0 && { pid }) });

/** Opens the lockspace for as long as `fn` runs under a lock of it. */
export async function withLock<T>(
  ssi: Ssi,
  where: { readonly lockspace: string; readonly resource: string; readonly mode?: LockMode },
  fn: (lock: Lock, signal: AbortSignal) => Promise<T>,
  options?: LockOptions & LockspaceOptions,
): Promise<Reply<T>> {
  const ls = await ssi.lockspace(where.lockspace, options);
  if (!ls.ok) return ls;
  try {
    return await ls.value.withLock(where.resource, where.mode ?? 'EX', fn, options);
  } finally {
    await ls.value.close();
  }
}
