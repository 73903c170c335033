// A call is run at most once; one that was answered ok ran exactly once; one that is known not to have
// run (EHOSTUNREACH) did not.
import type { SimCluster } from '../cluster.ts';
import { Violation } from '../world.ts';
import type { Checker } from './checker.ts';

export class ProbesChecker implements Checker {
  readonly name = 'at most once';
  readonly #cluster: SimCluster;
  answers = 0;

  constructor(cluster: SimCluster) {
    this.#cluster = cluster;
  }

  answered(token: string, outcome: string): void {
    this.answers++;
    const ran = this.#cluster.probed.get(token)?.length ?? 0;
    if (outcome === 'ok' && ran !== 1)
      this.#cluster.world.violated(this.name, `${token} was answered, but ran ${ran} times`);
    if (outcome === 'EHOSTUNREACH' && ran > 0)
      this.#cluster.world.violated(this.name, `${token} ran although EHOSTUNREACH says it did not`);
  }

  atEnd(): void {
    for (const [token, nodes] of this.#cluster.probed)
      if (nodes.length > 1)
        throw new Violation(
          this.name,
          `${token} ran ${nodes.length} times, on ${nodes.join(', ')}`,
        );
  }
}
