// One operation that gives back what it got, for the benchmarks of calls.
import { defineContract, rpc } from '@ssi/contracts';
import { z } from 'zod';

export const bench = defineContract('bench', 1, {
  echo: rpc({
    summary: 'Gives back what it got.',
    request: z.object({ text: z.string() }),
    reply: z.object({ text: z.string() }),
    errnos: [],
  }),
});
