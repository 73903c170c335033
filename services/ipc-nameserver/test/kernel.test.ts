// Our objects beside the kernel's own: the same random programs of three processes, step by step the same
// calls end with the same. `npm run ipc:kernel` runs 10,000 of them; a seed again by SSI_SEED.
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cluster } from './cluster.ts';
import { Judge } from './kernel/judge.ts';
import { runOurs } from './kernel/ours.ts';
import { runOverNodes } from './kernel/over-nodes.ts';
import { type Kind, kinds, type Program, program } from './kernel/program.ts';

const runs = Number(process.env.SSI_RUNS ?? 75);
const seed = process.env.SSI_SEED === undefined ? {} : { seed: Number(process.env.SSI_SEED) };

describe.skipIf(process.getuid?.() !== 0)('IPC: as the kernel has it', { timeout: 600_000 }, () => {
  let judge: Judge;
  beforeAll(() => {
    judge = new Judge();
  });
  afterAll(() => judge?.stop());

  test.each(Object.keys(kinds) as Kind[])('%s', async (kind) => {
    await fc.assert(
      fc.asyncProperty(program(kind), async (whole) => {
        const { program: agreed, lines } = runOurs(whole);
        const said = await judge.run(agreed);
        expect(both(agreed, lines)).toEqual(both(agreed, said));
      }),
      { numRuns: runs, ...seed },
    );
  });

  test.each(Object.keys(kinds) as Kind[])('%s, over three nodes', async (kind) => {
    const cluster = new Cluster();
    await cluster.start(1, 2, 3);
    try {
      await fc.assert(
        fc.asyncProperty(program(kind), async (whole) => {
          // A client that gives a call up does not hear how it ended.
          const steps = whole.steps.filter((s) => s.op !== 'cancel');
          const { program: agreed } = runOurs({ ...whole, steps });
          const [said, lines] = [await judge.run(agreed), await runOverNodes(cluster, agreed)];
          expect(both(agreed, lines)).toEqual(both(agreed, said));
        }),
        { numRuns: Math.ceil(runs / 8), ...seed },
      );
    } finally {
      await cluster.stop();
    }
  });
});

const both = ({ steps }: Program, ends: readonly string[]): string[] =>
  steps.map((s, i) => `${s.worker} ${s.op} ${s.args.join(' ')} -> ${ends[i]}`);
