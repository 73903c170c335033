// The ports of a node without a guard: it has no native processes and says so. Actors still run there.
import { fail, ok } from '@ssi/contracts';
import type { Guard, MoveRecords, VprocPorts } from '../ports.ts';

const none = 'this node has no guard: it runs actors only';
const nothing = { stop: () => {} };

/** Images of actors are in this process's memory, each bounded by the contract. */
const imageRoomBytes = 2 ** 30;

/** Numbers of a range, handed out in turn: nobody else takes any where there are no native processes. */
function countedNumbers(range: { low: number; high: number } | undefined): Guard {
  const held = new Set<number>();
  const first = range ? range.low + firstFree : 0;
  let next = first;
  const free = (): number | undefined => {
    if (!range) return undefined;
    for (let i = first; i <= range.high; i++) {
      const n = next;
      next = next >= range.high ? first : next + 1;
      if (!held.has(n)) return n;
    }
    return undefined;
  };
  return {
    status: async () => fail('EIO', none),
    watch: () => ({ stop: () => {} }),
    killPrograms: async () => ok(),
    async hold(pid) {
      if (held.has(pid)) return fail('EEXIST', `${pid} is held already`);
      held.add(pid);
      // After a restart the count goes on behind what is in use.
      if (range && pid >= next && pid < range.high) next = pid + 1;
      return ok();
    },
    async holdAny() {
      const n = free();
      if (n === undefined) return fail('EAGAIN', 'no number is free');
      held.add(n);
      return ok(n);
    },
    async release(pid) {
      held.delete(pid);
      return ok();
    },
    held: async () => ok([...held]),
  };
}
/** As the kernel does after its first round. [pid_namespaces(7): RESERVED_PIDS] */
const firstFree = 300;

/** Records that end with this process: for nodes that live in one process. */
export function memoryRecords(): MoveRecords {
  const records = new Map<string, string>();
  return {
    async write(moveId, record) {
      // As text, so that nobody changes afterwards what is on record.
      records.set(moveId, JSON.stringify(record));
      return ok();
    },
    list: async () =>
      ok(
        [...records]
          .sort(([a], [b]) => (a < b ? -1 : 1))
          .map(([moveId, text]) => ({ moveId, record: JSON.parse(text) as unknown })),
      ),
    async remove(moveId) {
      records.delete(moveId);
      return ok();
    },
  };
}

/** `range`: numbers for the actors of this node; absent: none. */
export function noNativePorts(
  records: Pick<VprocPorts, 'records' | 'state' | 'actorRecords'>,
  range?: { low: number; high: number },
): VprocPorts {
  const unable = async () => fail('EIO', none);
  const absent = async () => fail('ENOENT', none);
  return {
    ...records,
    guard: countedNumbers(range),
    processes: {
      scan: async () => ok([]),
      inspect: async () => undefined,
      followExits: () => nothing,
      signal: async () => fail('ESRCH', none),
    },
    spawner: { run: unable },
    streams: {
      create: unable,
      adopt: async () => ok([]),
      state: absent,
      tty: () => undefined,
      ttySize: () => undefined,
      paths: () => undefined,
      ownerAt: () => undefined,
      read: absent,
      onChange: () => nothing,
      append: absent,
      endInput: absent,
      endOutput: absent,
      resize: absent,
      pauseInput: absent,
      unreadInput: () => 0,
      pause: absent,
      resume: absent,
      install: unable,
      fill: absent,
      settle: absent,
      remove: async () => ok(),
    },
    images: {
      create: async () => ok(),
      write: unable,
      remove: async () => ok(),
      list: async () => ok([]),
      freeBytes: async () => imageRoomBytes,
    },
    criu: {
      version: async () => fail('ENOSYS', none),
      dump: () => ({ chunks: (async function* () {})(), done: unable() }),
      prepare: async () => {},
      discard: async () => {},
      restore: async () => fail('ECANCELED', none),
      resume: async () => ok(),
      destroy: async () => ok(),
      cleanUp: async () => ok(),
    },
    preflight: {
      kernel: () => '',
      cpuFlags: () => [],
      inspect: async () => fail('ESRCH', none),
      opened: async () => ({ reasons: [] }),
      checkFiles: async () => [],
      checkNumbers: async () => [],
    },
    stub: { replace: unable, end: unable, signals: async () => [], forget: async () => {} },
    halter: { halt: unable },
  };
}
