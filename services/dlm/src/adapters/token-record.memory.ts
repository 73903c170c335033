// The record in memory: for a node whose services live in one process, and for tests. It is as long-lived
// as whoever keeps it.
import type { Reserved, TokenRecord } from '../ports.ts';

export function memoryTokenRecord(): TokenRecord {
  let saved: Reserved | undefined;
  return {
    load: async () => saved,
    save: async (reserved) => {
      saved = reserved;
    },
  };
}
