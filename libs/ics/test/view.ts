// Views for tests: `[node, its state, its boot count]` each.
import type { NodeState, View } from '@ssi/contracts';

export const life = (bootCount: number) => ({
  bootCount,
  bootId: `${bootCount}`.padStart(16, '0'),
});
export const viewOf = (transid: number, ...members: [number, NodeState, number][]): View => ({
  transid,
  term: 1,
  master: 1,
  keyServices: {},
  pidBits: 16,
  members: members.map(([num, state, boots]) => ({
    num,
    name: `n${num}`,
    state,
    incarnation: life(boots),
    facts: {
      addresses: [],
      cpus: 1,
      memBytes: 0,
      kernel: '',
      arch: '',
      cpuFlags: [],
      native: false,
      heartbeatPorts: { udp: 0, tcp: 0 },
      versions: {},
    },
  })),
});
