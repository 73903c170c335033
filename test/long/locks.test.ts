// Our locks on real nodes under faults, beside redlock and etcd: three rounds; `npm run locks` has 200.
import { expect, test } from 'vitest';
import { canRunNative } from '../harness/cluster.ts';
import { lockFaults } from '../harness/lock-faults.ts';

test.skipIf(!canRunNative)(
  'locks: nodes without power, stopped and cut off, clients stopped past their lease: no critical sections overlap in what the register takes',
  { timeout: 180_000 },
  async () => {
    const results = await lockFaults(3, (line) => console.log(line));
    console.table(results);
    const ours = results.find((r) => r.peer === 'ssi');
    expect(ours?.overlaps).toBe(0);
    expect(ours?.writes).toBeGreaterThan(100);
    // The holder that was stopped in its section came back and was refused.
    expect(ours?.refused).toBeGreaterThan(0);
    // Without a fence the register takes it: so it is seen where it happens.
    const others = results.filter((r) => r.peer !== 'ssi');
    expect(others.reduce((sum, r) => sum + r.overlaps, 0)).toBeGreaterThan(0);
  },
);
