// Starts programs on this node. The number is taken first, by a placeholder, so that the streams' folder
// can carry it; then the placeholder makes room for the program.
import { fail, findMember, ok, type Reply, type RequestOf, type vproc } from '@ssi/contracts';
import type { FloatingAddresses } from './floating-addresses.ts';
import type { LocalNode } from './local-node.ts';
import type { LocalProcesses } from './local-processes.ts';

type RunRequest = RequestOf<(typeof vproc)['ops']['run']>;
type RunErrno = (typeof vproc)['ops']['run']['errnos'][number];

/** Somebody was faster to take the number between placeholder and program: begin again, this often. */
const racesMax = 5;

export class Runs {
  private readonly node: LocalNode;
  private readonly local: LocalProcesses;
  private readonly addresses: FloatingAddresses;

  constructor(node: LocalNode, local: LocalProcesses, addresses: FloatingAddresses) {
    this.node = node;
    this.local = local;
    this.addresses = addresses;
  }

  async run(request: RunRequest): Promise<Reply<{ pid: number }, RunErrno>> {
    const { node } = this;
    const native = node.view && findMember(node.view, node.num)?.facts.native;
    if (native === false) return fail('EOPNOTSUPP', `node ${node.num} runs actors only`);
    if (!node.leased || node.frozen)
      return fail('ENETDOWN', `node ${node.num} has no lease: its programs stand still`);
    if (!node.claimed) return fail('EAGAIN', `node ${node.num} is still starting`);
    for (let race = 0; race < racesMax; race++) {
      const started = await this.tryOnce(request);
      if (started) return started;
    }
    return fail('EAGAIN', 'others took the number each time');
  }

  /** undefined: somebody else got the number. */
  private async tryOnce(
    request: RunRequest,
  ): Promise<Reply<{ pid: number }, RunErrno> | undefined> {
    const { guard, streams, spawner } = this.node.deps.ports;
    const number = await guard.holdAny();
    if (!number.ok) return fail(number.errno === 'EAGAIN' ? 'EAGAIN' : 'EIO', number.detail);
    const pid = number.value;
    const { uid, gid, tty, noInput, addr } = request;
    const made = await streams.create({
      owner: pid,
      uid,
      gid,
      ...(tty ? { tty } : {}),
      ...(noInput ? { noInput } : {}),
    });
    if (!made.ok) {
      await guard.release(pid);
      return fail('EIO', `standard streams: ${made.detail}`);
    }
    const id = {
      hop: 0,
      owner: pid,
      run: {
        tty: tty !== undefined,
        pin: request.pin ?? false,
        uid,
        gid,
        ...(request.sigcluster ? { sigcluster: request.sigcluster } : {}),
        ...(addr ? { addr } : {}),
      },
    };
    // From here on a restart knows the program by its number, and keeps its streams open.
    await this.local.intend(pid, id);
    const claimed = addr === undefined ? ok() : await this.addresses.claim(addr);
    await guard.release(pid);
    if (!claimed.ok) {
      await this.local.withdraw(pid);
      await streams.remove(pid);
      return claimed;
    }
    const { argv, env, cwd, ioUring, privateIpc } = request;
    const started = await spawner.run({
      ...{ pid, argv, env, cwd, uid, gid, streams: made.value },
      ...(ioUring ? { ioUring } : {}),
      ...(privateIpc ? { privateIpc } : {}),
    });
    if (!started.ok) {
      await this.local.withdraw(pid);
      await streams.remove(pid);
      if (addr !== undefined) await this.addresses.release(addr);
      if (started.errno === 'EEXIST') return undefined;
      return fail(started.errno === 'EINVAL' ? 'EIO' : started.errno, started.detail);
    }
    await this.node.deps.failpoint('run.spawned');
    const ref = started.value;
    const born = this.local.bornHere(ref);
    await this.local.admit(ref, { ...id, born }, { uid, command: argv.join(' ') });
    return ok({ pid });
  }
}
