// The kept table in memory, for simulations and tests: as long-lived as whoever keeps it.
import { ok } from '@ssi/contracts';
import type { Kept, TableStore } from '../ports.ts';

export function memoryTableStore(): TableStore {
  let kept: Kept | undefined;
  return {
    load: async () => kept,
    save: async (value) => {
      kept = value;
      return ok();
    },
  };
}
