// One epoch of a nameserver: its table, what the cache hinted, and the lives of managers it has heard of.
import { fail, type IpcBinding, ok } from '@ssi/contracts';
import type { Manager } from './manager.ts';
import { newTable, type ObjectTable } from './object-table.ts';

/** One epoch of it. */
export interface Reign {
  readonly epoch: number;
  table: ObjectTable;
  /** Of the cache, by name and by id; empty when all have answered. */
  readonly hints: Map<string | number, IpcBinding>;
  readonly ready: Promise<void>;
  isReady: boolean;
  /** Newest life of each manager, and all lives. */
  readonly boots: Map<number, string>;
  readonly seen: Set<string>;
  reserved: number;
  reserving: Promise<void> | undefined;
}

export function newReign(epoch: number): { reign: Reign; begun: () => void } {
  const { promise: ready, resolve: begun } = Promise.withResolvers<void>();
  const reign: Reign = {
    ...{ epoch, table: newTable(epoch), hints: new Map(), ready, isReady: false },
    ...{ boots: new Map(), seen: new Set(), reserved: 0, reserving: undefined },
  };
  return { reign, begun };
}

/** new: what a former life of that manager had is gone; former: this is one. */
export function heardOf(reign: Reign, num: number, bootId: string): 'known' | 'new' | 'former' {
  if (reign.boots.get(num) === bootId) return 'known';
  if (reign.seen.has(bootId)) return 'former';
  reign.seen.add(bootId);
  reign.boots.set(num, bootId);
  return 'new';
}

/** One answer is what the bus carries: names are up to 4,095 bytes, and a binding some 250 besides. */
const pageBytes = 524_288;

/** As many of them as fit into one answer, at least one. */
function pageOf(bindings: readonly IpcBinding[]): IpcBinding[] {
  let bytes = 0;
  const end = bindings.findIndex((b) => {
    bytes += 250 + 4 * (b.name?.length ?? 0);
    return bytes > pageBytes;
  });
  return bindings.slice(0, end < 0 ? bindings.length : Math.max(1, end));
}

/** What a manager answers a nameserver; from here on it uses no binding of an older one. */
export function rebuildReply(
  manager: Manager,
  bootId: string,
  { epoch, after }: { epoch: number; after: number },
) {
  if (epoch < manager.epoch) return fail('ESTALE', `nameserver ${manager.epoch} asked already`);
  manager.epoch = epoch;
  const all = manager.bindings(after);
  const bindings = pageOf(all);
  const more = bindings.length < all.length;
  return ok({ bootId, bindings, more, lastId: manager.lastId });
}
