// Starts actors on this node, as run.ts starts programs: the number first, held by a placeholder that
// stays for as long as the actor lives, then the host makes it.
import { fail, ok, type Reply, type RequestOf, type vproc } from '@ssi/contracts';
import type { CallContext } from '@ssi/ports';
import { type Actors, spawnErrno } from './actors.ts';
import type { LocalNode } from './local-node.ts';
import type { LocalProcesses } from './local-processes.ts';

type Op = (typeof vproc)['ops']['actorSpawn'];

export async function spawnActor(
  q: { node: LocalNode; local: LocalProcesses; actors: Actors },
  request: RequestOf<Op>,
  context: CallContext,
): Promise<Reply<{ pid: number }, Op['errnos'][number]>> {
  const { node, local, actors } = q;
  const { guard } = node.deps.ports;
  if (!node.leased || node.frozen)
    return fail('ENETDOWN', `node ${node.num} has no lease: its programs stand still`);
  if (!node.claimed) return fail('EAGAIN', `node ${node.num} is still starting`);
  if (!actors.hosted)
    return fail('EHOSTUNREACH', `node ${node.num} has no actor host: start one with ssi.host()`);
  const number = await guard.holdAny();
  if (!number.ok) return fail(number.errno === 'EAGAIN' ? 'EAGAIN' : 'EIO', number.detail);
  const pid = number.value;
  const birth = actors.nextBirth();
  const { type, uid } = request;
  await actors.expect({ pid, birth, uid, type });
  const made = await actors.ask('create', { pid, birth, type, uid, input: request.input }, context);
  if (!made.ok) {
    // It may have been made all the same: then it is a stranger, and the host is told so.
    await actors.forget({ pid, birth });
    await actors.ask('destroy', { pid, birth }, context);
    await guard.release(pid);
    return fail(spawnErrno(made.errno), made.detail);
  }
  await actors.arrived({ pid, birth });
  const ref = { pid, startTicks: birth };
  await local.admit(
    ref,
    { hop: 0, born: local.bornHere(ref) },
    { uid, command: type, kind: 'actor' },
  );
  return ok({ pid });
}
