// Starts actors on this node, as run.ts starts programs: the number first, held by a placeholder that
// stays for as long as the actor lives, then the host makes it. A fork is made here and then moves.
import { type Errno, fail, ok, type Reply, type RequestOf, type vproc } from '@ssi/contracts';
import type { ServedCall } from '@ssi/ports';
import type { Actors } from './actors.ts';
import type { LocalNode } from './local-node.ts';
import type { LocalProcesses } from './local-processes.ts';
import type { Migrations } from './migrations.ts';
import type { Moves } from './moves.ts';

type Ops = (typeof vproc)['ops'];
type Ref = { readonly pid: number; readonly birth: number };
type Call = Pick<ServedCall, 'context'>;

export class ActorSpawns {
  private readonly node: LocalNode;
  private readonly local: LocalProcesses;
  private readonly actors: Actors;
  private readonly moves: Moves;
  private readonly migrations: Migrations;

  constructor(q: {
    node: LocalNode;
    local: LocalProcesses;
    actors: Actors;
    moves: Moves;
    migrations: Migrations;
  }) {
    this.node = q.node;
    this.local = q.local;
    this.actors = q.actors;
    this.moves = q.moves;
    this.migrations = q.migrations;
  }

  async spawn(
    { type, uid, input }: RequestOf<Ops['actorSpawn']>,
    { context }: Call,
  ): Promise<Reply<{ pid: number }, Ops['actorSpawn']['errnos'][number]>> {
    const made = await this.make({ type, uid }, (ref) =>
      this.actors.ask('create', { ...ref, type, uid, input }, context),
    );
    if (made.ok) return ok({ pid: made.value.pid });
    return { ...made, errno: spawnErrnos.find((e) => e === made.errno) ?? 'EAGAIN' };
  }

  async rfork(
    { pid, to, uid }: RequestOf<Ops['rfork']>,
    call: Call,
  ): Promise<Reply<{ pid: number }, Ops['rfork']['errnos'][number]>> {
    const { node, local, moves, actors } = this;
    await moves.settled(pid);
    await local.refresh();
    const parent = local.table.get(pid);
    if (!parent) return moves.notHere(pid, node.num);
    if (parent.kind !== 'actor')
      return fail('EOPNOTSUPP', `${pid} is a program: it calls rfork(3ssi) of libssi by itself`);
    if (uid !== 0 && uid !== parent.uid)
      return fail('EPERM', `${pid} belongs to user ${parent.uid}`);
    const child = await this.make({ type: parent.command, uid: parent.uid }, (ref) =>
      actors.ask('fork', { pid, birth: parent.startTicks, child: ref }, call.context),
    );
    if (!child.ok) return { ...child, errno: forkErrno(child.errno) };
    const ref = child.value;
    const request = { pid: ref.pid, to, uid: 0 };
    const moved =
      to === node.num
        ? await actors.ask('resume', ref, call.context)
        : await this.migrations.migrate(request, call);
    if (moved.ok) return ok({ pid: ref.pid });
    await this.unmake(ref, call);
    return { ...moved, errno: forkErrno(moved.errno) };
  }

  private async make(
    q: { type: string; uid: number },
    ask: (ref: Ref) => Promise<Reply<unknown>>,
  ): Promise<Reply<Ref>> {
    const { node, local, actors } = this;
    if (!node.leased || node.frozen)
      return fail('ENETDOWN', `node ${node.num} has no lease: its programs stand still`);
    if (!node.claimed) return fail('EAGAIN', `node ${node.num} is still starting`);
    if (!actors.hosted)
      return fail('EHOSTUNREACH', `node ${node.num} has no actor host: start one with ssi.host()`);
    const number = await node.deps.ports.guard.holdAny();
    if (!number.ok) return fail(number.errno === 'EAGAIN' ? 'EAGAIN' : 'EIO', number.detail);
    const ref = { pid: number.value, birth: actors.nextBirth() };
    const expected = await actors.expect({ ...ref, ...q });
    if (!expected.ok) {
      await node.deps.ports.guard.release(ref.pid);
      return expected;
    }
    const made = await ask(ref);
    if (!made.ok) {
      // It may have been made all the same.
      await this.unmake(ref, { context: { priority: 1 } });
      return made;
    }
    await actors.arrived(ref);
    const { pid, birth } = ref;
    const process = { pid, startTicks: birth };
    const id = { hop: 0, born: local.bornHere(process) };
    await local.admit(process, id, { uid: q.uid, command: q.type, kind: 'actor' });
    return ok(ref);
  }

  /** There is no such actor: should the host have it, it is a stranger there. */
  private async unmake(ref: Ref, { context }: Call): Promise<void> {
    await this.actors.forget(ref);
    await this.actors.ask('destroy', ref, context);
    await this.node.deps.ports.guard.release(ref.pid);
  }
}

const spawnErrnos = ['ENOENT', 'EINVAL', 'EHOSTUNREACH', 'ENETDOWN', 'EIO'] as const;
const forkErrnos = [
  ...['EHOSTDOWN', 'EHOSTUNREACH', 'EOPNOTSUPP', 'ENETDOWN', 'ENOSPC', 'EINVAL', 'EIO'],
  ...['ESRCH', 'EBUSY', 'ECANCELED'],
] as Ops['rfork']['errnos'][number][];
const forkErrno = (errno: Errno) => forkErrnos.find((e) => e === errno) ?? 'EAGAIN';
