// The data plane by the kernel's IPVS, through the command ipvsadm. The kernel schedules each connection itself. Only
// services that were applied here are touched: others in the same kernel stay. -R stops at the first line that is
// refused, so what stands is looked up before, and put back then. Not run on a real IPVS yet: tested with a program
// that speaks as ipvsadm does.
import { fail, ok, type Reply, type ServiceId, type VirtualService } from '@ssi/contracts';
import { serviceText, type Table } from '@ssi/lvs';
import { changes, isIn, readConnections, readRules, readTraffic } from '../ipvsadm-rules.ts';
import { linkKey } from '../link-key.ts';
import type { DataPlane } from '../ports.ts';
import { reason, run } from './program.ts';

/** A whole table is one call. */
const ipvsadmMs = 60_000;

/** `ipvsadm`: its path, or how to run it elsewhere. */
export function ipvsadmDataPlane(ipvsadm: readonly string[]): DataPlane {
  let applied: readonly VirtualService[] = [];
  const ask = (args: readonly string[], input?: string) =>
    run([...ipvsadm, ...args], input, ipvsadmMs);

  async function standing(ids: readonly ServiceId[]): Promise<Reply<Table, 'EIO'>> {
    const listed = await ask(['-S', '-n']);
    if (listed.code !== 0) return fail('EIO', reason(listed, 'ipvsadm'));
    return ok(readRules(listed.out).filter((service) => isIn(ids, service)));
  }

  async function send(lines: string): Promise<Reply<undefined, 'EIO'>> {
    if (lines === '') return ok();
    const done = await ask(['-R'], lines);
    return done.code === 0 ? ok() : fail('EIO', reason(done, 'ipvsadm'));
  }

  async function become(services: readonly VirtualService[]): Promise<Reply<undefined, 'EIO'>> {
    const ids = [...applied, ...services].map((service) => service.id);
    const before = await standing(ids);
    if (!before.ok) return before;
    const sent = await send(changes(before.value, services, applied));
    if (sent.ok) {
      applied = services;
      return sent;
    }
    const now = await standing(ids);
    // With the thresholds that were set, which the listing lacks.
    const former = before.value.map(
      (service) => applied.find((known) => isIn([known.id], service)) ?? service,
    );
    if (now.ok) await send(changes(now.value, former, []));
    return sent;
  }

  async function listed<T>(args: readonly string[], read: (text: string) => Map<string, T>) {
    const printed = await ask(['-L', '-n', ...args]);
    if (printed.code !== 0) return fail('EIO', reason(printed, 'ipvsadm'));
    const all = read(printed.out);
    const ours = applied.flatMap((service) =>
      service.servers.map((_, at) => linkKey({ service }, at)),
    );
    return ok(new Map([...all].filter(([link]) => ours.includes(link))));
  }

  return {
    async apply(planned) {
      for (const { service } of planned)
        if (service.servers.some((server) => server.forward === 'fullnat'))
          return fail('EOPNOTSUPP', `${serviceText(service.id)}: IPVS cannot do fullnat`);
      return become(planned.map(({ service }) => service));
    },
    connections: () => listed([], readConnections),
    traffic: () => listed(['--stats', '--exact'], readTraffic),
    clear: () => (applied.length === 0 ? Promise.resolve(ok()) : become([])),
  };
}
