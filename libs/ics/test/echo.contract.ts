// A contract for tests: one operation for each kind of behaviour.
import { defineContract, message, rpc, serviceOps } from '@ssi/contracts';
import { z } from 'zod';

export const echo = defineContract('echo', 1, {
  ...serviceOps,
  say: rpc({
    summary: 'Gives back what it got.',
    request: z.object({ n: z.int(), data: z.instanceof(Uint8Array).optional() }),
    reply: z.object({ n: z.int(), size: z.int() }),
    errnos: ['ENOENT'],
  }),
  slow: rpc({
    summary: 'Answers when the test says so.',
    request: z.object({ n: z.int() }),
    reply: z.object({ n: z.int() }),
    errnos: [],
  }),
  watch: rpc({
    summary: 'A long poll.',
    request: z.object({ n: z.int() }),
    reply: z.object({ n: z.int() }),
    errnos: [],
    longPoll: true,
    timeoutMs: 3_600_000,
  }),
  tell: message({
    summary: 'A message.',
    request: z.object({ n: z.int() }),
    reply: z.undefined(),
  }),
});
