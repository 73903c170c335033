// The cache in memory, shared by the nameservers of one process.
import type { IpcBinding } from '@ssi/contracts';
import type { NameCache } from '../ports.ts';

export interface MemoryStore {
  cluster: string;
  epoch: number;
  bindings: Map<number, IpcBinding>;
}
export const memoryStore = (): MemoryStore => ({ cluster: '', epoch: 0, bindings: new Map() });

export function memoryNameCache(store: MemoryStore, cluster: string): NameCache {
  const current = (epoch: number): boolean => store.cluster === cluster && store.epoch === epoch;
  return {
    async begin(epoch) {
      if (store.cluster !== cluster) Object.assign(store, { ...memoryStore(), cluster });
      if (store.epoch > epoch) return [];
      store.epoch = epoch;
      return [...store.bindings.values()];
    },
    replace(epoch, bindings) {
      if (current(epoch)) store.bindings = new Map(bindings.map((b) => [b.id, b]));
    },
    put(epoch, binding) {
      if (current(epoch)) store.bindings.set(binding.id, binding);
    },
    drop(epoch, { id }) {
      if (current(epoch)) store.bindings.delete(id);
    },
    close() {},
  };
}
