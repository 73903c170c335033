// Views and map entries for tests.
import type { Incarnation, NodeState, ServiceEndpoint, View } from '@ssi/contracts';

export const life = (bootCount: number): Incarnation => ({
  bootCount,
  bootId: `${bootCount}`.padStart(16, '0'),
});

/** `addresses`: n-th node has 10.<interconnect>.0.<n>. */
export const viewOf = (
  transid: number,
  members: readonly (readonly [num: number, state: NodeState, bootCount: number])[],
): View => ({
  transid,
  term: 1,
  master: 1,
  keyServices: {},
  pidBits: 16,
  members: members.map(([num, state, bootCount]) => ({
    num,
    name: `n${num}`,
    state,
    incarnation: life(bootCount),
    facts: {
      addresses: [`10.0.0.${num}`, `10.1.0.${num}`],
      cpus: 1,
      memBytes: 1,
      kernel: '6.1',
      arch: 'x64',
      cpuFlags: [],
      native: false,
      heartbeatPorts: { udp: 0, tcp: 0 },
      versions: {},
    },
  })),
});

export const entry = (node: number, service: string, boot: string): ServiceEndpoint => ({
  node,
  service,
  incarnation: life(1),
  bootId: boot,
  tcp: [],
});
