// The sessions in memory: for tests. It is as long-lived as whoever keeps it.
import type { RecordedSession, SessionRecord } from '../ports.ts';

export function memorySessionRecord(): SessionRecord {
  const sessions = new Map<string, RecordedSession>();
  return {
    all: async () => [...sessions.values()],
    add: async (one) => void sessions.set(one.session, one),
    remove: ({ session }) => void sessions.delete(session),
  };
}
