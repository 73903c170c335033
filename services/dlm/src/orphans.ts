// Locks with PERSISTENT whose owner is gone: this node keeps them until somebody adopts them by resource and
// mode, or purges them. They end with the node's lock manager. [DLM_LKF_PERSISTENT, DLM_LKF_ORPHAN;
// fs/dlm/lock.c: dlm_user_adopt_orphan, do_purge]
import { fail, type LockMode, ok, type Reply } from '@ssi/contracts';
import type { AgentLock } from './agent-lock.ts';

export class Orphans {
  readonly #locks = new Set<AgentLock>();

  get size(): number {
    return this.#locks.size;
  }
  has(lock: AgentLock): boolean {
    return this.#locks.has(lock);
  }
  lkids(): number[] {
    return [...this.#locks].map((lock) => lock.lkid);
  }

  add(lock: AgentLock): void {
    this.#locks.add(lock);
  }
  delete(lock: AgentLock): void {
    this.#locks.delete(lock);
  }

  /** The one to adopt. EAGAIN: there are orphans of the resource, in other modes; ENOENT: none. */
  find(key: string, mode: LockMode): Reply<AgentLock, 'EAGAIN' | 'ENOENT'> {
    const here = [...this.#locks].filter((lock) => lock.home.key === key);
    const found = here.find((lock) => lock.granted === mode);
    if (found) return ok(found);
    if (here.length === 0) return fail('ENOENT', 'this node keeps no orphan of that resource');
    return fail('EAGAIN', `the orphans of that resource hold ${here.map((l) => l.granted)}`);
  }

  /** Of a lockspace; with `pid` those of that process only. */
  of(lockspace: string, pid?: number): AgentLock[] {
    return [...this.#locks].filter(
      ({ home, who }) =>
        home.key.startsWith(`${lockspace}/`) && (pid === undefined || who.pid === pid),
    );
  }
}
