// Hands key services over, from the master: what the view has as asked for is carried out, by whoever is
// master. The active instance stands down, then the next view names the other one.
import { type KeyService, ok, serviceOfKey, type View } from '@ssi/contracts';
import { sleep } from '@ssi/ports';
import type { Committer } from './committer.ts';
import { settled } from './key-services.ts';
import { contractOf } from './local-services.ts';
import type { MembershipDeps } from './state.ts';

export interface KeyRun {
  onView(view: View): void;
  stop(): void;
}

export function createKeyRun(deps: MembershipDeps, committer: Committer): KeyRun {
  const { clock, log, ics, config } = deps;
  const running = new Set<string>();
  let stopped = false;

  async function run(name: string, key: KeyService): Promise<void> {
    const { num, since, to } = key;
    const contract = contractOf(serviceOfKey(name));
    const options = { timeoutMs: config.timing.stepMs };
    const reply = await ics.call(contract, 'standDown', num, { name, since }, options);
    if (!reply.ok) log.warn('a key service did not stand down', { name, num, errno: reply.errno });
    else log.info('key service handed over', { name, num, to, since });
    while (!stopped) {
      const done = await committer.commit((v) =>
        ok(settled(v, { name, since, stoodDown: reply.ok })),
      );
      if (done.ok) return;
      await sleep(clock, config.timing.beatMs);
    }
  }

  return {
    onView(view) {
      for (const [name, key] of Object.entries(view.keyServices)) {
        const id = `${name} ${key.since}`;
        if (stopped || key.to === undefined || running.has(id)) continue;
        running.add(id);
        void run(name, key).finally(() => running.delete(id));
      }
    },
    stop() {
      stopped = true;
    },
  };
}
