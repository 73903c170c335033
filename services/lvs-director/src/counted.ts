// Counts as people ask for them: by server, since the last `zero`.
import { fail, ok, type Reply, type ServerCounts, type VirtualService } from '@ssi/contracts';
import { linkKey } from './link-key.ts';
import type { DataPlane, Traffic } from './ports.ts';

const none: Traffic = { connections: 0, inPackets: 0, inBytes: 0, outPackets: 0, outBytes: 0 };
const names = ['connections', 'inPackets', 'inBytes', 'outPackets', 'outBytes'] as const;

export class Counted {
  readonly #plane: DataPlane;
  #since = new Map<string, Traffic>();

  constructor(plane: DataPlane) {
    this.#plane = plane;
  }

  async read(services: readonly VirtualService[]): Promise<Reply<ServerCounts[], 'EIO'>> {
    const [connections, traffic] = await Promise.all([
      this.#plane.connections(),
      this.#plane.traffic(),
    ]);
    if (!connections.ok) return connections;
    if (!traffic.ok) return traffic;
    return ok(
      services.flatMap((service) =>
        service.servers.map(({ address, port }, at) => {
          const name = linkKey({ service }, at);
          const { active, inactive } = connections.value.get(name) ?? { active: 0, inactive: 0 };
          const total = less(traffic.value.get(name) ?? none, this.#since.get(name) ?? none);
          return { id: service.id, address, port, active, inactive, ...total };
        }),
      ),
    );
  }

  /** Of one service, as `serviceText` names it, or all. */
  async zero(service?: string): Promise<Reply<Record<string, never>, 'EIO'>> {
    const traffic = await this.#plane.traffic();
    if (!traffic.ok) return fail('EIO', traffic.detail);
    for (const [name, total] of traffic.value)
      if (service === undefined || name.startsWith(`${service} `)) this.#since.set(name, total);
    return ok({});
  }
}

/** The system's own counts begin anew where a table is made anew. */
const less = (now: Traffic, since: Traffic): Traffic => {
  const isNew = names.some((name) => now[name] < since[name]);
  const of = (name: (typeof names)[number]): number =>
    isNew ? now[name] : now[name] - since[name];
  return {
    ...{ connections: of('connections'), inPackets: of('inPackets'), inBytes: of('inBytes') },
    ...{ outPackets: of('outPackets'), outBytes: of('outBytes') },
  };
};
