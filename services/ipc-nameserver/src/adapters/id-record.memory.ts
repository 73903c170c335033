// The record in memory: it outlives the service where its owner keeps it.
import type { IdRecord } from '../ports.ts';

export function memoryIdRecord(): IdRecord {
  let last = 0;
  return {
    load: async () => last,
    save: async (id) => {
      last = id;
    },
  };
}
