// What the registers took, as redis-server itself tells it: every SET of a register in its order, whoever
// sent it. A value names the one it was made from, so a section that overlapped another is seen. [MONITOR]
import { Redis } from 'ioredis';

export interface Taken {
  /** Writes that were taken. */
  readonly writes: number;
  /** Of them: made from a value that was not the newest any more: two critical sections overlapped. */
  readonly overlaps: number;
}

export interface RegisterAudit {
  of(key: string): Taken;
  stop(): void;
}

export async function auditRegisters(url: string): Promise<RegisterAudit> {
  const redis = new Redis(url);
  const monitor = await redis.monitor();
  const taken = new Map<string, { newest: number; writes: number; overlaps: number }>();
  monitor.on('monitor', (_time: string, [command = '', key = '', value = '']: string[]) => {
    const parts = /^(\d+) \d+ (\d+)$/.exec(value);
    if (command.toUpperCase() !== 'SET' || !parts) return;
    const known = taken.get(key) ?? { newest: 0, writes: 0, overlaps: 0 };
    const overlaps = known.overlaps + (Number(parts[2]) === known.newest ? 0 : 1);
    taken.set(key, { newest: Number(parts[1]), writes: known.writes + 1, overlaps });
  });
  return {
    of: (key) => {
      const { writes = 0, overlaps = 0 } = taken.get(key) ?? {};
      return { writes, overlaps };
    },
    stop: () => {
      monitor.disconnect();
      redis.disconnect();
    },
  };
}
