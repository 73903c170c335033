// The sessions in memory: for tests. It is as long-lived as whoever keeps it.
import type { SessionRecord } from '../ports.ts';

export function memorySessionRecord(): SessionRecord {
  const sessions = new Set<string>();
  return {
    all: async () => [...sessions],
    add: async (session) => void sessions.add(session),
    remove: (session) => void sessions.delete(session),
  };
}
