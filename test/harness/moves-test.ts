// One definition of the moves test, run short with `npm test` and long (200 moves) with `ci:long`.
import { connect, type Ssi } from '@ssi/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canRunNative, startCluster, type TestCluster } from './cluster.ts';
import { type MovesResult, moveBusyProgram, movePipeline, percentile } from './moves.ts';

const summary = (title: string, r: MovesResult): void => {
  const ms = (values: readonly number[]) =>
    `p50 ${percentile(values, 50).toFixed(0)} ms, p99 ${percentile(values, 99).toFixed(0)} ms`;
  const gaps = r.gapsMs.length > 0 ? `; the program's own longest gap ${ms(r.gapsMs)}` : '';
  console.log(`${title}: ${r.freezesMs.length} moves, freeze ${ms(r.freezesMs)}${gaps}`);
};

export function movesTest(moves: number): void {
  describe.skipIf(!canRunNative)(`end to end: ${moves} moves round three nodes`, () => {
    let cluster: TestCluster;
    let ssi: Ssi;
    beforeAll(async () => {
      cluster = await startCluster();
      const connected = await connect({ cluster: cluster.name });
      if (!connected.ok) throw new Error(connected.detail);
      ssi = connected.value;
    });
    afterAll(async () => {
      await ssi?.close();
      await cluster?.stop();
    });
    // A move and the output that proves it: well under 5 s each on a busy machine.
    const timeout = 30_000 + moves * 5_000;

    test('a bash pipeline: no line lost or doubled, same pid', { timeout }, async () => {
      const result = await movePipeline(ssi, moves, [1, 2, 3]);
      summary('pipeline', result);
      expect(result.report.wrong).toEqual([]);
      expect(result.copiesWrong).toEqual([]);
      expect(result.exit).toMatchObject({ code: 0 });
    });

    test('python with threads and children, 2,500 lines a second out and checksummed input in: nothing lost or doubled either way', {
      timeout,
    }, async () => {
      const result = await moveBusyProgram(ssi, moves, [1, 2, 3]);
      summary('busy', result);
      expect(result.report.wrong).toEqual([]);
      expect(result.copiesWrong).toEqual([]);
      expect(result.exit).toMatchObject({ code: 0 });
      expect(result.report.checkedInput).toBeGreaterThan(moves * 100);
      // The freeze that is told is the one the program felt: within 20 % (and two of its 1 ms ticks), in the middle half.
      const ratios = result.freezesMs.map(
        (freeze, i) => ((result.gapsMs[i] ?? 0) + 2) / (freeze + 2),
      );
      expect(percentile(ratios, 25)).toBeGreaterThan(0.8);
      expect(percentile(ratios, 75)).toBeLessThan(1.25);
    });
  });
}
