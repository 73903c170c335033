// Where a new lock belongs: a resource of its lockspace, or one under a lock that its session holds.
import { childKeyOf, fail, keyOf, lockDepthMax, ok, pathOf, type Reply } from '@ssi/contracts';
import type { AgentLock, LockRequest } from './agent-lock.ts';
import type { Session } from './sessions.ts';

export interface Place {
  readonly key: string;
  readonly parent?: AgentLock;
}

/** Where a new lock belongs. [VMS: SS$_PARNOTGRANT, SS$_EXDEPTH] */
export function placeOf(session: Session, q: LockRequest): Reply<Place, 'EINVAL'> {
  if (q.parent === undefined) return ok({ key: keyOf(q.lockspace, q.resource) });
  const parent = session.locks.get(q.parent);
  if (!parent || parent.granted === undefined || parent.leaving)
    return fail('EINVAL', `lock ${q.parent} of the session is not granted: it can be no parent`);
  if (!parent.home.key.startsWith(`${q.lockspace}/`))
    return fail('EINVAL', `lock ${q.parent} is of another lockspace`);
  if (pathOf(parent.home.key).length >= lockDepthMax)
    return fail('EINVAL', `more than ${lockDepthMax} resources one under another`);
  return ok({ key: childKeyOf(parent.home.key, q.resource), parent });
}
