// A lock manager without a wire: its handlers, called as the code of its own process would, on a cluster of
// one node that is always leased. What a lock costs before anything carries it.

import type { dlm } from '@ssi/contracts';
import { clms, fail, ok, type View } from '@ssi/contracts';
import { createDlm, memoryTokenRecord } from '@ssi/dlm';
import { systemClock } from '@ssi/linux';
import { type Handlers, type Ics, noLog } from '@ssi/ports';

const incarnation = { bootCount: 1, bootId: '1'.repeat(16) };
const view: View = {
  ...{ transid: 1, term: 1, master: 1, keyServices: {}, pidBits: 16 },
  members: [
    {
      ...{ num: 1, name: 'n1', incarnation, state: 'UP' },
      facts: {
        ...{ addresses: [], cpus: 1, memBytes: 0, kernel: '', arch: '', cpuFlags: [] },
        ...{ native: false, heartbeatPorts: { udp: 0, tcp: 0 }, versions: {} },
      },
    },
  ],
};

export interface LoneDlm {
  readonly handlers: Handlers<typeof dlm>;
  stop(): void;
}

export async function startLoneDlm(): Promise<LoneDlm> {
  let handlers: Handlers<typeof dlm> = {};
  const answers: Record<string, unknown> = {
    attach: { view, self: { num: 1, incarnation }, leased: true, cluster: 'lone' },
    confirm: { transid: 1, leaseMs: 60_000 },
  };
  const ics: unknown = {
    self: { node: 1, service: 'dlm', bootId: 'ab'.repeat(8) },
    call: async (contract: { name: string }, op: string) =>
      contract.name === clms.name && op in answers ? ok(answers[op]) : fail('ENOSYS', op),
    send: () => {},
    setView: () => {},
    serve: (_: unknown, served: Handlers<typeof dlm>) => {
      handlers = served;
    },
  };
  const lone = createDlm({
    ...{ ics: ics as Ics, clock: systemClock(), log: noLog, tokens: memoryTokenRecord() },
    ...{ servicePid: 0, tcp: [] },
  });
  await lone.start();
  return { handlers, stop: () => lone.stop() };
}
