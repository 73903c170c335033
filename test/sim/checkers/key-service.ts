// A key service has one active instance at most, over all machines; each begins with an epoch above all
// that were before it; and when everything is at rest there is one.
import type { SimCluster } from '../cluster.ts';
import type { SimNode } from '../node.ts';
import { Violation } from '../world.ts';
import type { Checker } from './checker.ts';

export class KeyServiceChecker implements Checker {
  readonly name = 'one active instance';
  readonly #cluster: SimCluster;
  #newest = 0;
  #of = 0;

  constructor(cluster: SimCluster) {
    this.#cluster = cluster;
  }

  afterEach(): void {
    let active: SimNode | undefined;
    for (const node of this.#cluster.nodes) {
      const epoch = epochOf(node);
      if (epoch === undefined) continue;
      if (active)
        throw new Violation(
          this.name,
          `on node ${active.num} (epoch ${epochOf(active)}) and node ${node.num} (epoch ${epoch})`,
        );
      active = node;
      if (epoch === this.#newest && node.num === this.#of) continue;
      if (epoch <= this.#newest)
        throw new Violation(
          this.name,
          `node ${node.num} begins epoch ${epoch} after ${this.#newest} of node ${this.#of}`,
        );
      this.#newest = epoch;
      this.#of = node.num;
    }
  }

  atEnd(): void {
    if (!this.#cluster.nodes.some((node) => epochOf(node) !== undefined))
      throw new Violation(this.name, 'nobody, though all is at rest');
  }
}

/** The epoch in which this node's instance serves. */
const epochOf = (node: SimNode): number | undefined =>
  node.up && !node.halted && node.lives.get('dlm')?.alive ? node.keyRole?.epoch() : undefined;
