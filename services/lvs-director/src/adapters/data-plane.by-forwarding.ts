// Two data planes as one: services whose servers are reached by direct routing, and the others. All or nothing.
import { fail, ok, type Reply } from '@ssi/contracts';
import { serviceText } from '@ssi/lvs';
import type { DataPlane, Planned } from '../ports.ts';

export function byForwarding(q: {
  readonly direct: DataPlane;
  readonly nat: DataPlane;
  /** What NAT needs of the system: packets that are not for it are handed on. */
  readonly forwardPackets: () => Reply<undefined, 'EIO'>;
}): DataPlane {
  const { direct, nat } = q;
  let natApplied: readonly Planned[] = [];

  /** One without servers stays where its connections are. */
  const isDirect = ({ service }: Planned): boolean =>
    service.servers.length > 0
      ? service.servers.every((s) => s.forward === 'route')
      : !natApplied.some((p) => serviceText(p.service.id) === serviceText(service.id));

  const joined = async <T>(
    ask: (plane: DataPlane) => Promise<Reply<ReadonlyMap<string, T>, 'EIO'>>,
  ): Promise<Reply<ReadonlyMap<string, T>, 'EIO'>> => {
    const [one, other] = await Promise.all([
      ask(direct),
      natApplied.length > 0 ? ask(nat) : ok(new Map<string, T>()),
    ]);
    if (!one.ok) return one;
    return other.ok ? ok(new Map([...one.value, ...other.value])) : other;
  };

  return {
    async apply(planned, more) {
      const byRoute = planned.filter(isDirect);
      const byNat = planned.filter((p) => !byRoute.includes(p));
      if (byNat.length > 0) {
        const forwards = q.forwardPackets();
        if (!forwards.ok) return forwards;
        const done = await nat.apply(byNat);
        if (!done.ok) return done;
      } else if (natApplied.length > 0) {
        const gone = await nat.clear();
        if (!gone.ok) return gone;
      }
      const done = await direct.apply(byRoute, more);
      if (done.ok) {
        natApplied = byNat;
        return done;
      }
      const back = natApplied.length > 0 ? await nat.apply(natApplied) : await nat.clear();
      return back.ok ? done : fail('EIO', `${done.detail}; and not undone: ${back.detail}`);
    },
    connections: () => joined((plane) => plane.connections()),
    traffic: () => joined((plane) => plane.traffic()),
    async clear() {
      const cleared = await Promise.all([direct.clear(), nat.clear()]);
      natApplied = [];
      return cleared.find((c) => !c.ok) ?? ok();
    },
  };
}
