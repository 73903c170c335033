// One running copy of a pid, over all machines: a copy that is stopped, or whose node is frozen or
// halted, does not run. A node that a view has excluded counts as long as it is not frozen.
import type { SimCluster } from '../cluster.ts';
import { Violation } from '../world.ts';
import type { Checker } from './checker.ts';

export class CopiesChecker implements Checker {
  readonly name = 'one copy';
  readonly #cluster: SimCluster;
  readonly #runs = new Map<number, number>();

  constructor(cluster: SimCluster) {
    this.#cluster = cluster;
  }

  afterChange(): void {
    this.#runs.clear();
    for (const { num, machine, halted } of this.#cluster.nodes) {
      if (machine.dead || machine.frozen || halted) continue;
      for (const p of machine.processes.values()) {
        if (p.state !== 'running') continue;
        const other = this.#runs.get(p.pid);
        if (other !== undefined)
          throw new Violation(this.name, `${p.pid} runs on node ${other} and on node ${num}`);
        this.#runs.set(p.pid, num);
      }
    }
  }
}
