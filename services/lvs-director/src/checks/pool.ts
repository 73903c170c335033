// The pool of one virtual service: which of its real servers live, whether their weight makes a quorum, and what
// the service is to be carried by. A pure step: (pool, event) -> (pool, scripts to run). A server lives while each
// of its checkers does. [keepalived: ipwrapper.c perform_svr_state, update_quorum_state, init_service_vs]
import type { RealServer, VirtualService } from '@ssi/contracts';
import { serverText } from '@ssi/lvs';

export interface Pooled {
  readonly isUp: boolean;
  /** Told by a checker, in the place of the server's own. */
  readonly weight: number | undefined;
}

export interface Pool {
  readonly service: VirtualService;
  /** By `serverText`. */
  readonly servers: Readonly<Record<string, Pooled>>;
  readonly hasQuorum: boolean;
}

/** What happened, and the script that the configuration has for it. */
export interface PoolChange {
  readonly what: 'server-up' | 'server-down' | 'weight' | 'quorum-up' | 'quorum-down';
  readonly server?: string;
  readonly script?: readonly string[];
}

export interface PoolStep {
  readonly pool: Pool;
  readonly changes: readonly PoolChange[];
}

const weightMax = 65_535;

/** Weight of what lives. */
const alive = ({ service, servers }: Pool): number =>
  service.servers.reduce((sum, server) => {
    const known = servers[serverText(server)];
    return known?.isUp ? sum + Math.min(weightMax, known.weight ?? server.weight) : sum;
  }, 0);

/** Quorum and hysteresis as they can be met: no more than all servers weigh, and less than that. */
export function wanted({ health, servers }: VirtualService): {
  quorum: number;
  hysteresis: number;
} {
  const all = servers.reduce((sum, s) => sum + Math.min(weightMax, s.weight), 0);
  const quorum = Math.max(1, Math.min(health?.quorum ?? 1, all));
  return { quorum, hysteresis: Math.min(health?.hysteresis ?? 0, quorum - 1) };
}

/** `startsUp`: whether a server counts as up until its checkers say otherwise; those that `before` has are as they were. */
export function poolOf(
  service: VirtualService,
  startsUp: (server: RealServer) => boolean,
  before?: Pool,
): PoolStep {
  const servers = Object.fromEntries(
    service.servers.map((server): [string, Pooled] => {
      const name = serverText(server);
      return [name, before?.servers[name] ?? { isUp: startsUp(server), weight: undefined }];
    }),
  );
  const pool = { service, servers, hasQuorum: before?.hasQuorum ?? false };
  if (before) return quorum(pool, []);
  const { quorum: least, hysteresis } = wanted(service);
  // The first state is no change: nothing is told.
  return { pool: { ...pool, hasQuorum: alive(pool) >= least + hysteresis }, changes: [] };
}

/** One of its servers came up, went down, or is told so for the first time (`again`: then its script runs as well). */
export function serverIs(pool: Pool, server: string, isUp: boolean, again = false): PoolStep {
  const known = pool.servers[server];
  if (!known || (known.isUp === isUp && !again)) return { pool, changes: [] };
  const health = pool.service.servers.find((s) => serverText(s) === server)?.health;
  const script = isUp ? health?.notifyUp : health?.notifyDown;
  const change: PoolChange = {
    ...{ what: isUp ? 'server-up' : 'server-down', server },
    ...(script && { script }),
  };
  const weight = isUp ? known.weight : undefined;
  return quorum(withServer(pool, server, { isUp, weight }), [change]);
}

/** A checker tells the server's weight; undefined: its own again. */
export function serverWeighs(pool: Pool, server: string, weight: number | undefined): PoolStep {
  const known = pool.servers[server];
  if (!known || known.weight === weight) return { pool, changes: [] };
  return quorum(withServer(pool, server, { ...known, weight }), [{ what: 'weight', server }]);
}

/** The director ends: with omega everything goes down, and its scripts run. */
export function poolEnds(pool: Pool): readonly PoolChange[] {
  if (!pool.service.health?.omega) return [];
  const down = pool.service.servers.flatMap((server): PoolChange[] => {
    const name = serverText(server);
    if (!pool.servers[name]?.isUp) return [];
    const script = server.health?.notifyDown;
    return [{ what: 'server-down', server: name, ...(script && { script }) }];
  });
  const script = pool.service.health.quorumDown;
  return [...down, { what: 'quorum-down', ...(script && { script }) }];
}

/**
 * The service as it is to be carried now. Without quorum by its sorry server, where it has one, else by what lives.
 * With inhibitOnFailure what is down stays, with weight 0.
 */
export function carriedBy({ service, servers, hasQuorum }: Pool): VirtualService {
  const isSorry = !hasQuorum && service.sorryServer !== undefined;
  const real = service.servers.flatMap((server): RealServer[] => {
    const known = servers[serverText(server)];
    if (known?.isUp && !isSorry) return [{ ...server, weight: known.weight ?? server.weight }];
    return server.health?.inhibitOnFailure ? [{ ...server, weight: 0 }] : [];
  });
  return isSorry && service.sorryServer
    ? { ...service, servers: [...real, service.sorryServer] }
    : { ...service, servers: real };
}

const withServer = (pool: Pool, name: string, now: Pooled): Pool => ({
  ...pool,
  servers: { ...pool.servers, [name]: now },
});

/** Gained at quorum + hysteresis, lost below quorum - hysteresis, and at 0. */
function quorum(pool: Pool, changes: readonly PoolChange[]): PoolStep {
  const { health } = pool.service;
  const { quorum: least, hysteresis } = wanted(pool.service);
  const sum = alive(pool);
  if (!pool.hasQuorum && sum >= least + hysteresis) {
    const script = health?.quorumUp;
    const gained: PoolChange = { what: 'quorum-up', ...(script && { script }) };
    return { pool: { ...pool, hasQuorum: true }, changes: [...changes, gained] };
  }
  if (pool.hasQuorum && (sum === 0 || sum < least - hysteresis)) {
    const script = health?.quorumDown;
    const lost: PoolChange = { what: 'quorum-down', ...(script && { script }) };
    return { pool: { ...pool, hasQuorum: false }, changes: [...changes, lost] };
  }
  return { pool, changes };
}
