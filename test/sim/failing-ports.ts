// Every step of a machine that can fail: what each operation of each port answers when it does. A call
// that fails has no effect, but for answers that were lost (`ETIMEDOUT` of the guard): it had all of it.
import { type Errno, fail } from '@ssi/contracts';
import type { FakeMachine, VprocPorts } from '@ssi/vproc';

/** By `port.method`. */
const failures: Readonly<Record<string, Errno>> = {
  'guard.hold': 'EIO',
  'guard.holdAny': 'EAGAIN',
  'guard.release': 'ETIMEDOUT',
  'guard.held': 'EIO',
  'processes.scan': 'EIO',
  'spawner.run': 'EAGAIN',
  'streams.create': 'ENOSPC',
  'streams.adopt': 'EIO',
  'streams.endOutput': 'EIO',
  'streams.pauseInput': 'EIO',
  'streams.pause': 'EIO',
  'streams.resume': 'EIO',
  'streams.install': 'ENOSPC',
  'streams.fill': 'ENOSPC',
  'streams.settle': 'EIO',
  'streams.remove': 'EIO',
  'images.create': 'ENOSPC',
  'images.write': 'ENOSPC',
  'images.remove': 'EIO',
  'images.list': 'EIO',
  'criu.dump': 'EIO',
  'criu.restore': 'ECANCELED',
  'criu.resume': 'EIO',
  'criu.destroy': 'ETIMEDOUT',
  'criu.cleanUp': 'EIO',
  'records.write': 'ENOSPC',
  'records.list': 'EIO',
  'records.remove': 'EIO',
  'state.write': 'ENOSPC',
  'state.list': 'EIO',
  'state.remove': 'EIO',
  'actorRecords.write': 'ENOSPC',
  'actorRecords.list': 'EIO',
  'halter.halt': 'EIO',
};

export const failingOps = Object.keys(failures);

/** The same ports, failing as often as `machine.failing` says. */
export function failingPorts(ports: VprocPorts, machine: FakeMachine): VprocPorts {
  const wrapped = Object.entries(ports).map(([name, port]) => [
    name,
    new Proxy(port as object, {
      get: (target, key) => {
        const value: unknown = Reflect.get(target, key);
        const op = `${name}.${String(key)}`;
        const errno = failures[op];
        // The fake fails a dump itself: it has no reply to replace.
        if (typeof value !== 'function' || errno === undefined || op === 'criu.dump') return value;
        const method = value as (...args: unknown[]) => unknown;
        return async (...args: unknown[]) => {
          const fails = machine.fails(op);
          if (fails && op !== 'guard.release') return fail(errno, `injected at ${op}`);
          const reply = await method.apply(target, args);
          return fails ? fail(errno, 'injected: the answer was lost') : reply;
        };
      },
    }),
  ]);
  return Object.fromEntries(wrapped) as unknown as VprocPorts;
}
