// What the data plane is to do: pools and counts of connections made into places. Keeps who is overloaded.
import type { VirtualService } from '@ssi/contracts';
import type { Random } from '@ssi/ports';
import { candidateOf, overloadAfter } from './candidate.ts';
import { linkKey } from './link-key.ts';
import { placesOf } from './places.ts';
import type { Connections, Planned } from './ports.ts';

/** These go by how many connections a server has. */
const byLoad: readonly string[] = ['lc', 'wlc', 'sed', 'nq', 'ovf', 'lblc', 'lblcr', 'twos'];

/** Whether it has to be planned again when connections come and go. */
export const goesByLoad = (service: VirtualService): boolean =>
  service.servers.length > 1 &&
  (byLoad.includes(service.scheduler) || service.servers.some((s) => s.upper > 0));

export class Planner {
  readonly #random: Random;
  #overloaded: ReadonlySet<string> = new Set();

  constructor(random: Random) {
    this.#random = random;
  }

  plan(
    services: readonly VirtualService[],
    counts: ReadonlyMap<string, Connections>,
    atMs: number,
  ): Planned[] {
    const overloaded = new Set<string>();
    const planned = services.map((service) => {
      const candidates = service.servers.map((server, at) => {
        const name = linkKey({ service }, at);
        const { active = 0, inactive = 0 } = counts.get(name) ?? {};
        const was = { ...candidateOf(server), active, inactive };
        const now = { ...was, overloaded: this.#overloaded.has(name) };
        now.overloaded = overloadAfter(now);
        if (now.overloaded) overloaded.add(name);
        return now;
      });
      return { service, places: placesOf(service, candidates, { random: this.#random, atMs }) };
    });
    this.#overloaded = overloaded;
    return planned;
  }
}
