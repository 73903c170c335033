// The data plane by direct routing, with nft in the network namespace of this process: see direct-rules.ts.
import { fail, ok, type Reply } from '@ssi/contracts';
import { serviceText } from '@ssi/lvs';
import {
  type DirectPlan,
  directId,
  directTransaction,
  flowLines,
  flowMaps,
} from '../direct-rules.ts';
import { linkKey } from '../link-key.ts';
import { numbers, tableName } from '../nft-rules.ts';
import type { Connections, DataPlane, Planned, ServedFlow, Traffic } from '../ports.ts';
import { countersIn, reason, removeTable, standing } from './nft.ts';
import { run } from './program.ts';

interface Element {
  readonly key: string;
  readonly mark: number;
}

/** Connections of a map, from `nft -j`. [libnftables-json(5)] */
function elementsIn(text: string): Element[] | undefined {
  type Elem = [{ elem: { val: { concat: (string | number)[] } } }, number];
  try {
    const listed: { nftables: { map?: { elem?: Elem[] } }[] } = JSON.parse(text);
    return listed.nftables.flatMap(({ map }) =>
      (map?.elem ?? []).map(([{ elem }, mark]) => ({ key: elem.val.concat.join(' . '), mark })),
    );
  } catch {
    return undefined;
  }
}

export function directDataPlane(q: {
  readonly nft: readonly string[];
  /** Interface that clients come in by. */
  readonly device: string;
  /** Addresses of this node: its part is not handed on. */
  readonly own: readonly string[];
}): DataPlane {
  const serviceNumbers = numbers();
  /** By address; kept as long as the table is there: connections know servers by them. */
  const hosts = new Map<string, number>();
  let applied: DirectPlan | undefined;
  let dead: readonly string[] = [];

  const markOf = (address: string): number => {
    const known = hosts.get(address) ?? hosts.size + 1;
    hosts.set(address, known);
    return known;
  };
  const textOf = (flows: readonly ServedFlow[]): string =>
    flowLines(flows.map((f) => ({ ...f, mark: markOf(f.server) })))
      .map((line) => `${line}\n`)
      .join('');

  async function elements(map: string): Promise<Reply<Element[], 'EIO'>> {
    const read = await run([...q.nft, '-j', 'list', 'map', 'netdev', tableName, map]);
    if (read.code !== 0) return fail('EIO', reason(read));
    const found = elementsIn(read.out);
    return found ? ok(found) : fail('EIO', 'nft lists maps in a form that is not known');
  }

  async function counters() {
    const read = await run([...q.nft, '-j', 'list', 'counters', 'table', 'netdev', tableName]);
    if (read.code !== 0) return fail('EIO', reason(read));
    const named = countersIn(read.out);
    return named ? ok(named) : fail('EIO', 'nft lists counters in a form that is not known');
  }

  function byLink<T>(look: (mark: number, service: number) => T): Map<string, T> {
    return new Map(
      (applied?.services ?? []).flatMap((s) =>
        s.marks.map((mark, at): [string, T] => [linkKey(s, at), look(mark, s.number)]),
      ),
    );
  }

  const planOf = (planned: readonly Planned[]): DirectPlan => {
    const services = planned.map((p) => ({
      ...p,
      number: serviceNumbers.of(serviceText(p.service.id)),
      marks: p.service.servers.map((server) => markOf(server.address)),
    }));
    const here = new Set([...q.own, ...dead]);
    return { services, hosts: new Map(hosts), here, device: q.device };
  };

  return {
    async apply(planned, { flows = [], gone = [] } = {}) {
      for (const { service } of planned)
        if (!directId(service.id))
          return fail('EOPNOTSUPP', `${serviceText(service.id)}: marks do not go with route`);
      if (planned.length === 0 && !applied) return removed();
      dead = gone;
      // What another director knew is put into a table that begins anew.
      if (flows.length > 0) applied = undefined;
      const followed = textOf(flows);
      const plan = planOf(planned);
      let text = directTransaction(applied, plan);
      if (!applied) {
        const there = await standing(q.nft, 'netdev', tableName);
        if (!there.ok) return there;
        // Left by a former life: replaced in the same transaction.
        if (there.value === 'ours') text = `delete table netdev ${tableName}\n${text}`;
      }
      const done = await run([...q.nft, '-f', '-'], text + followed);
      if (done.code !== 0) return fail('EIO', reason(done));
      applied = plan;
      serviceNumbers.keep(new Set(planned.map((p) => serviceText(p.service.id))));
      return ok();
    },
    async connections() {
      if (!applied) return ok(new Map());
      // A node has what it has of all services: which port it is for is in the key.
      const counts = new Map<string, { active: number; inactive: number }>();
      for (const map of flowMaps) {
        const found = await elements(map);
        if (!found.ok) return found;
        for (const { key, mark } of found.value) {
          const [, , address, port] = key.split(' . ');
          const protocol = map.split('_')[0];
          const name = `${protocol} ${address}:${port} ${mark}`;
          const count = counts.get(name) ?? { active: 0, inactive: 0 };
          if (map === 'tcp_flows') count.active++;
          else count.inactive++;
          counts.set(name, count);
        }
      }
      const known = new Map<string, Connections>();
      for (const s of applied.services)
        s.marks.forEach((mark, at) => {
          const id = directId(s.service.id);
          const name = id ? `${id.protocol} ${id.address}:${id.port} ${mark}` : '';
          known.set(linkKey(s, at), counts.get(name) ?? { active: 0, inactive: 0 });
        });
      return ok(known);
    },
    async traffic() {
      if (!applied) return ok(new Map());
      const named = await counters();
      if (!named.ok) return named;
      return ok(
        byLink((mark, service): Traffic => {
          const taken = named.value.get(`taken_${service}_${mark}`);
          return {
            connections: named.value.get(`begun_${service}_${mark}`)?.packets ?? 0,
            inPackets: taken?.packets ?? 0,
            inBytes: taken?.bytes ?? 0,
            // What servers answer does not come by here.
            ...{ outPackets: 0, outBytes: 0 },
          };
        }),
      );
    },
    clear: removed,
  };

  async function removed(): Promise<Reply<undefined, 'EIO'>> {
    applied = undefined;
    hosts.clear();
    return removeTable(q.nft, 'netdev', tableName);
  }
}
