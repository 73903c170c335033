// A key service has one active instance at most, over all machines; each begins with an epoch above all
// that were before it; and when everything is at rest there is one.
import type { SimCluster } from '../cluster.ts';
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

  #active(): { num: number; epoch: number }[] {
    return this.#cluster.nodes.flatMap((node) => {
      const alive = node.up && node.lives.get('dlm')?.alive && !node.halted;
      const epoch = alive ? node.keyRole?.epoch() : undefined;
      return epoch === undefined ? [] : [{ num: node.num, epoch }];
    });
  }

  afterEach(): void {
    const [one, other] = this.#active();
    if (one && other)
      throw new Violation(
        this.name,
        `on node ${one.num} (epoch ${one.epoch}) and node ${other.num} (epoch ${other.epoch})`,
      );
    if (!one || (one.epoch === this.#newest && one.num === this.#of)) return;
    if (one.epoch <= this.#newest)
      throw new Violation(
        this.name,
        `node ${one.num} begins epoch ${one.epoch} after ${this.#newest} of node ${this.#of}`,
      );
    this.#newest = one.epoch;
    this.#of = one.num;
  }

  atEnd(): void {
    if (this.#active().length === 0)
      throw new Violation(this.name, 'nobody, though all is at rest');
  }
}
