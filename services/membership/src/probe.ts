// Looks at the KV from time to time: whether it is there, and whether it forgot. What it says about
// members is never obeyed here; only that another term began makes a master step down.
import { type Found, readRecord } from './committer.ts';
import type { MembershipDeps, NodeState } from './state.ts';

export interface Probe {
  stop(): void;
}

export function startProbe(
  deps: MembershipDeps,
  state: NodeState,
  onFound: (found: Found) => void,
): Probe {
  const { clock, log } = deps;
  let stopped = false;

  async function look(): Promise<void> {
    if (stopped) return;
    const found = await readRecord(deps.kv);
    if (stopped) return;
    if (found.ok !== state.broker.ok) {
      state.broker = { ok: found.ok, sinceMs: clock.nowMs() };
      log.warn(found.ok ? 'the broker answers again' : 'the broker is away');
    }
    if (found.ok) onFound(found.value);
    clock.after(deps.config.timing.probeMs, () => void look());
  }
  void look();
  return {
    stop() {
      stopped = true;
    },
  };
}
