// A stand-in for a service of a later step (DLM): it attaches to membership like every service, takes its
// nodedown step, and runs what callers ask exactly as often as ICS hands it over. It is a key service too:
// one instance is active at a time.
import { clms, defineContract, ok, rpc, serviceOps } from '@ssi/contracts';
import { createKeyRole, type KeyRole } from '@ssi/ics';
import { type Ics, sleep } from '@ssi/ports';
import type { Life } from '@ssi/sim';
import { z } from 'zod';

export const probe = defineContract('dlm', 1, {
  ...serviceOps,
  run: rpc({
    summary: 'Counts that this token was run, after `workMs`.',
    request: z.object({ token: z.string(), workMs: z.number() }),
    reply: z.object({ token: z.string() }),
    errnos: [],
    timeoutMs: 3_000,
  }),
});

/** A service without a word of membership for this long asks again. */
const silenceMs = 2_000;

export function startProbe(ics: Ics, life: Life, ran: (token: string) => void): KeyRole {
  const { clock } = life;
  const role = createKeyRole({ name: probe.name, ics, clock });
  let heardMs = Number.NEGATIVE_INFINITY;
  ics.serve(probe, {
    view(q) {
      heardMs = clock.nowMs();
      ics.setView(q.view, q.self);
      role.told(q);
      return ok(undefined);
    },
    nodedown: () => ok({}),
    standDown: (q) => role.standDown(q),
    status: () => ok({ service: 'dlm', state: 'serving', uptimeMs: clock.nowMs(), counters: {} }),
    async run(q) {
      ran(q.token);
      if (q.workMs > 0) await sleep(clock, q.workMs);
      return ok({ token: q.token });
    },
  });
  const attach = async (): Promise<void> => {
    for (;;) {
      if (clock.nowMs() - heardMs >= silenceMs) {
        const { node, bootId } = ics.self;
        const request = { service: 'dlm', bootId, pid: 0 };
        const reply = await ics.call(clms, 'attach', node, request, { timeoutMs: 1_000 });
        if (reply.ok) {
          heardMs = clock.nowMs();
          ics.setView(reply.value.view, reply.value.self);
          role.told(reply.value);
        }
      }
      await sleep(clock, clock.nowMs() - heardMs < silenceMs ? silenceMs / 4 : 100);
    }
  };
  void attach();
  return role;
}
