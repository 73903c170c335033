// The ports of a node without a guard: it has no native processes and says so. Actors still run there.
import { fail, ok } from '@ssi/contracts';
import type { VprocPorts } from '../ports.ts';

const none = 'this node has no guard: it runs actors only';
const nothing = { stop: () => {} };

export function noNativePorts(records: Pick<VprocPorts, 'records' | 'state'>): VprocPorts {
  const unable = async () => fail('EIO', none);
  const absent = async () => fail('ENOENT', none);
  return {
    ...records,
    guard: {
      status: unable,
      watch: () => nothing,
      killPrograms: async () => ok(),
      hold: unable,
      holdAny: unable,
      release: async () => ok(),
      held: async () => ok([]),
    },
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
      read: absent,
      onChange: () => nothing,
      append: absent,
      endInput: absent,
      endOutput: absent,
      resize: absent,
      pauseInput: absent,
      pause: absent,
      resume: absent,
      install: unable,
      fill: absent,
      settle: absent,
      remove: async () => ok(),
    },
    images: {
      create: unable,
      write: unable,
      remove: async () => ok(),
      list: async () => ok([]),
      freeBytes: async () => 0,
    },
    criu: {
      version: async () => fail('ENOSYS', none),
      dump: () => ({ chunks: (async function* () {})(), done: unable() }),
      restore: async () => fail('ECANCELED', none),
      resume: async () => ok(),
      destroy: async () => ok(),
      cleanUp: async () => ok(),
    },
    preflight: {
      kernel: () => '',
      cpuFlags: () => [],
      inspect: async () => fail('ESRCH', none),
      checkFiles: async () => [],
      checkNumbers: async () => [],
    },
    stub: { replace: unable, end: unable },
  };
}
