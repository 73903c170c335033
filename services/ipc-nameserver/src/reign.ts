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

/** What a manager answers a nameserver; from here on it uses no binding of an older one. */
export function rebuildReply(manager: Manager, bootId: string, epoch: number) {
  if (epoch < manager.epoch) return fail('ESTALE', `nameserver ${manager.epoch} asked already`);
  manager.epoch = epoch;
  return ok({ bootId, bindings: manager.bindings(), lastId: manager.lastId });
}
