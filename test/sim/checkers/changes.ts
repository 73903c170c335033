// Whether anything changed, since the last look, in what runs on which machine. It is asked after each
// event of the world, a thousand times for each time that something did: it compares and makes nothing.
import type { FakeMachine, FakeProcess } from '@ssi/vproc';
import type { SimCluster } from '../cluster.ts';

interface Seen {
  machine: FakeMachine | undefined;
  halted: boolean;
  frozen: boolean;
  dead: boolean;
  readonly processes: FakeProcess[];
  readonly states: FakeProcess['state'][];
  readonly commands: string[];
}

export class Changes {
  readonly #cluster: SimCluster;
  readonly #seen: readonly Seen[];

  constructor(cluster: SimCluster) {
    this.#cluster = cluster;
    this.#seen = cluster.nodes.map(() => ({
      machine: undefined,
      halted: false,
      frozen: false,
      dead: false,
      processes: [],
      states: [],
      commands: [],
    }));
  }

  look(): boolean {
    let changed = false;
    const { nodes } = this.#cluster;
    for (let i = 0; i < nodes.length; i++) {
      const seen = this.#seen[i] as Seen;
      const { machine, halted } = nodes[i] as SimCluster['nodes'][number];
      const { frozen, dead } = machine;
      if (
        seen.machine !== machine ||
        seen.halted !== halted ||
        seen.frozen !== frozen ||
        seen.dead !== dead
      ) {
        Object.assign(seen, { machine, halted, frozen, dead });
        changed = true;
      }
      if (this.#compare(seen, machine)) changed = true;
    }
    return changed;
  }

  #compare({ processes, states, commands }: Seen, machine: FakeMachine): boolean {
    let at = 0;
    let changed = false;
    if (machine.processes.size > 0)
      for (const p of machine.processes.values()) {
        if (processes[at] !== p || states[at] !== p.state || commands[at] !== p.command) {
          processes[at] = p;
          states[at] = p.state;
          commands[at] = p.command;
          changed = true;
        }
        at++;
      }
    if (processes.length === at) return changed;
    processes.length = at;
    states.length = at;
    commands.length = at;
    return true;
  }
}
