// One definition of the kills at the phase boundaries: a sample with `npm test`, all with `npm run faults`.
import { connect, type Ssi } from '@ssi/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { value } from './busy.ts';
import { canRunNative, startCluster, type TestCluster } from './cluster.ts';
import { type FaultCase, livesOn, MoveFaults } from './move-faults.ts';
import { percentile } from './moves.ts';

/** From the verdict of the view. */
const settledMaxMs = 2_000;

export function moveFaultsTest(cases: readonly FaultCase[]): void {
  describe.skipIf(!canRunNative)('end to end: kills at the phase boundaries of a move', () => {
    let cluster: TestCluster;
    let ssi: Ssi;
    let faults: MoveFaults;
    const settled = { vproc: [] as number[], node: [] as number[] };
    beforeAll(async () => {
      cluster = await startCluster({ env: { SSI_FAILPOINTS: 'file' } });
      ssi = value(await connect({ cluster: cluster.name }));
      faults = new MoveFaults(cluster, ssi);
    });
    afterAll(async () => {
      for (const [dies, ms] of Object.entries(settled))
        if (ms.length > 0)
          console.log(
            `${dies} killed ${ms.length} times: settled p50 ${percentile(ms, 50).toFixed(0)} ms, max ${Math.max(...ms).toFixed(0)} ms`,
          );
      await ssi?.close();
      await cluster?.stop();
    });
    for (const c of cases)
      test(`${c.dies} of the ${c.victim} dies at ${c.point}: ${livesOn(c) ? 'one copy lives on' : 'lost with its node'}`, {
        timeout: 90_000,
      }, async () => {
        const { settledMs } = await faults.run(c);
        settled[c.dies].push(settledMs);
        // A service's verdict is its restart, which the supervisor may put off.
        if (c.dies === 'node') expect(settledMs).toBeLessThan(settledMaxMs);
      });
  });
}
