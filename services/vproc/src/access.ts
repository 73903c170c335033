// What a person may ask for here, beyond what his role lets him ask at all: an operator acts as himself, on
// his own processes; who only reads takes nothing. Services and admins act for anybody. [kill(2): EPERM]
import { type Failure, fail, mayActFor, parsePrincipal } from '@ssi/contracts';
import type { ServedCall } from '@ssi/ports';

interface Request {
  readonly pid?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** wait: the status is taken. */
  readonly reap?: boolean;
  /** attach: bytes are written to it. */
  readonly input?: boolean;
}

/** Operations on a process that do not name the user they are for. */
const onProcess = new Set(['attach', 'resize', 'wait']);

/** undefined: go on. `ownerOf`: whose process that is, where this node knows. */
export function refusal(
  op: string,
  request: unknown,
  { from }: ServedCall,
  ownerOf: (pid: number) => number | undefined,
): Failure<'EPERM'> | undefined {
  const q = request as Request;
  const person = from.node === 0 ? parsePrincipal(from.service) : undefined;
  if (!person || person.role === 'admin') return undefined;
  if (q.uid !== undefined && !mayActFor(from, q.uid, q.gid))
    return fail('EPERM', `user ${person.uid}, group ${person.gid} cannot act as another`);
  if (!onProcess.has(op)) return undefined;
  const takes = q.reap === true || q.input === true;
  if (takes && person.role === 'read') return fail('EPERM', 'this credential only reads');
  // Where a process ends and how is no secret; what it writes is its owner's.
  if (op === 'wait' && !takes) return undefined;
  const owner = q.pid === undefined ? undefined : ownerOf(q.pid);
  if (owner === undefined || owner === person.uid) return undefined;
  return fail('EPERM', `${q.pid} belongs to user ${owner}`);
}
