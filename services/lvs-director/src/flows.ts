// The connections of one virtual service where each is seen as it begins: its scheduler asked for each, with the
// counts of that moment; persistence; thresholds. Plain data, told the time. What carries them is an adapter's.
// [net/netfilter/ipvs/ip_vs_core.c: ip_vs_schedule, ip_vs_sched_persist; ip_vs_conn.c: ip_vs_bind_dest]
import type { RealServer, VirtualService } from '@ssi/contracts';
import { serverText } from '@ssi/lvs';
import type { Random } from '@ssi/ports';
import { type Candidate, candidateOf, overloadAfter } from './candidate.ts';
import { createScheduler } from './schedulers/by-name.ts';
import { addressNumber } from './schedulers/maglev.ts';
import type { Flow, Scheduler } from './schedulers/scheduler.ts';

/** Clients whose server is remembered; the one that came longest ago is forgotten. */
export const clientsMax = 65_536;

/** A connection: counted with its server from `begin` to `end`. */
export interface HeldFlow {
  readonly server: RealServer;
  /** Stands: counts as active, until it ends or begins to close. */
  established(): void;
  closing(): void;
  /** Idempotent, as the others. */
  end(): void;
}

export interface Flows {
  /** Servers that stay keep their connections and their turn. */
  change(service: VirtualService): void;
  /** undefined: no server may take it. */
  begin(flow: Flow): HeldFlow | undefined;
  candidates(): readonly Candidate[];
}

export function flowsOf(first: VirtualService, random: Random): Flows {
  let service = first;
  let list: Candidate[] = [];
  let scheduler: Scheduler = schedulerOf(first, random);
  /** The server of a client (that part of its address which counts), in the order of their last connections. */
  const clients = new Map<number, { candidate: Candidate; untilMs: number }>();

  function change(next: VirtualService): void {
    const old = new Map(list.map((c) => [serverText(c.server), c]));
    list = next.servers.map((server) => {
      const known = old.get(serverText(server));
      if (!known) return candidateOf(server);
      Object.assign(known, { server });
      known.overloaded = overloadAfter(known);
      return known;
    });
    if (next.scheduler !== service.scheduler || next.flags.join() !== service.flags.join())
      scheduler = schedulerOf(next, random);
    if (!next.persistence) clients.clear();
    service = next;
    scheduler.changed(list);
  }
  change(first);

  function choose(flow: Flow): Candidate | undefined {
    const { persistence } = service;
    if (!persistence) return scheduler.pick(flow);
    const client = (flow.client & addressNumber(persistence.netmask)) >>> 0;
    const known = clients.get(client);
    // Also where that is quiesced or overloaded.
    const stays = known && known.untilMs > flow.atMs && list.includes(known.candidate);
    const candidate = stays ? known.candidate : scheduler.pick(flow);
    clients.delete(client);
    if (!candidate) return undefined;
    clients.set(client, { candidate, untilMs: flow.atMs + persistence.timeoutS * 1_000 });
    if (clients.size > clientsMax) clients.delete(clients.keys().next().value as number);
    return candidate;
  }

  return {
    change,
    candidates: () => list,
    begin(flow) {
      const candidate = choose(flow);
      return candidate && held(candidate);
    },
  };
}

const schedulerOf = ({ scheduler, flags }: VirtualService, random: Random): Scheduler =>
  createScheduler(scheduler, { flags, random });

function held(c: Candidate): HeldFlow {
  let counted: 'active' | 'inactive' | undefined;
  const count = (as: 'active' | 'inactive' | undefined): void => {
    if (counted) c[counted]--;
    if (as) c[as]++;
    counted = as;
    c.overloaded = overloadAfter(c);
  };
  count('inactive');
  return {
    server: c.server,
    established: () => counted === 'inactive' && count('active'),
    closing: () => counted === 'active' && count('inactive'),
    end: () => counted && count(undefined),
  };
}
