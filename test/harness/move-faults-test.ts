// One definition of the kills at the phase boundaries: a sample with `npm test`, all with `npm run faults`.
import { connect, type Ssi } from '@ssi/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { value } from './busy.ts';
import { canRunNative, startCluster, type TestCluster } from './cluster.ts';
import { insideNode, nftInside } from './inside-node.ts';
import { type FaultCase, livesOn, MoveFaults } from './move-faults.ts';
import { percentile } from './moves.ts';

/** From the verdict of the view. */
const settledMaxMs = 2_000;

const whatHappens = ({ dies, victim }: FaultCase): string =>
  dies === 'pause'
    ? `the node of the ${victim} is stopped past its lease, and woken,`
    : `${dies} of the ${victim} dies`;

/** `trouble`: also what is no death, a full tmpfs and a half-open stream. */
export function moveFaultsTest(cases: readonly FaultCase[], trouble = false): void {
  describe.skipIf(!canRunNative)('end to end: kills at the phase boundaries of a move', () => {
    let cluster: TestCluster;
    let ssi: Ssi;
    let faults: MoveFaults;
    const settled = { vproc: [] as number[], node: [] as number[], pause: [] as number[] };
    beforeAll(async () => {
      cluster = await startCluster({ env: { SSI_FAILPOINTS: 'file' } });
      ssi = value(await connect({ cluster: cluster.name }));
      faults = new MoveFaults(cluster, ssi);
    }, 180_000);
    afterAll(async () => {
      for (const [dies, ms] of Object.entries(settled))
        if (ms.length > 0)
          console.log(
            `${dies}, ${ms.length} times: settled p50 ${percentile(ms, 50).toFixed(0)} ms, max ${Math.max(...ms).toFixed(0)} ms`,
          );
      await ssi?.close();
      await cluster?.stop();
    });
    for (const c of cases)
      test(`${whatHappens(c)} at ${c.point}: ${livesOn(c) ? 'one copy lives on' : 'lost with its node'}`, {
        timeout: 90_000,
      }, async () => {
        const { settledMs } = await faults.run(c);
        settled[c.dies].push(settledMs);
        // A service's verdict is its restart, which the supervisor may put off.
        if (c.dies !== 'vproc') expect(settledMs).toBeLessThan(settledMaxMs);
      });

    if (!trouble) return;

    /** The node's tmpfs, made small, has no page left; gives how to undo it. */
    const fill = (num: number): (() => void) => {
      const dir = `/run/ssi/node/${cluster.name}`;
      const kilobytes = (what: string): number =>
        Number(
          /\d+/.exec(insideNode(cluster, num, `df -k --output=${what} ${dir} | tail -1`))?.[0],
        );
      const resize = (k: number): string =>
        insideNode(cluster, num, `mount -o remount,size=${k}k ${dir}`);
      const before = kilobytes('size');
      resize(kilobytes('used') + 256);
      insideNode(cluster, num, `dd if=/dev/zero of=${dir}/filler bs=4k 2>/dev/null || true`);
      return () => {
        resize(before);
        insideNode(cluster, num, `rm ${dir}/filler`);
      };
    };
    for (const [where, point] of [
      ['target', 'move.source.dumping'],
      ['source', 'move.source.dumping'],
      ['source', 'move.source.prepared'],
      ['target', 'move.target.restored'],
    ] as const)
      test(`the ${where}'s tmpfs is full from ${point} on: it stays, and counts on`, {
        timeout: 60_000,
      }, async () => {
        const { detail } = await faults.trouble(point, (from, to) =>
          fill(where === 'source' ? from : to),
        );
        expect(detail).toMatch(/ENOSPC|No space/i);
      });

    test('a half-open stream: it is back within seconds, and says why', {
      timeout: 60_000,
    }, async () => {
      const { detail, tookMs } = await faults.trouble('move.source.dumping', (from, to) => {
        const address = cluster.file().nodes.find((n) => n.num === from)?.address;
        nftInside(cluster, to, `add table inet half_open`);
        for (const [hook, end] of [
          ['input', 'saddr'],
          ['output', 'daddr'],
        ] as const) {
          nftInside(
            cluster,
            to,
            `add chain inet half_open ${hook} { type filter hook ${hook} priority 0 ; }`,
          );
          nftInside(
            cluster,
            to,
            `add rule inet half_open ${hook} ip ${end} ${address} meta l4proto tcp drop`,
          );
        }
        return () => nftInside(cluster, to, 'delete table inet half_open');
      });
      expect(detail).toMatch(/images|stream/);
      expect(tookMs).toBeLessThan(10_000);
    });
  });
}
