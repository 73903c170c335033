import assert from 'node:assert/strict';
import type { NodeState, View } from '@ssi/contracts';
import { test } from 'vitest';
import { isGone, standing } from '../src/standing.ts';

const life = (bootCount: number) => ({ bootCount, bootId: `${bootCount}`.padStart(16, '0') });
const view = (state: NodeState, transid = 5): View => ({
  transid,
  term: 1,
  master: 1,
  members: [
    {
      num: 2,
      name: 'n2',
      incarnation: life(3),
      state,
      facts: {
        addresses: [],
        cpus: 1,
        memBytes: 0,
        kernel: '',
        arch: '',
        cpuFlags: [],
        native: true,
        heartbeatPorts: { udp: 0, tcp: 0 },
        versions: {},
      },
    },
  ],
  keyServices: {},
  pidBits: 16,
});
const rank = (
  bootCount: number,
  q: { contract?: string; selfNode?: number; transid?: number; state?: NodeState } = {},
) =>
  standing({
    from: { node: 2, service: 'vproc', bootId: '0'.repeat(16), incarnation: life(bootCount) },
    contract: q.contract ?? 'vproc',
    transid: q.transid ?? 5,
    view: view(q.state ?? 'UP'),
    selfNode: q.selfNode ?? 1,
  });

test('ICS: a member speaks; a former life of it, and one that a view has as gone, do not', () => {
  assert.equal(rank(3), 'accepted');
  assert.equal(rank(2), 'stale');
  assert.equal(rank(3, { state: 'DOWN' }), 'stale');
  assert.equal(rank(4), 'stale');
  assert.equal(rank(4, { transid: 6 }), 'wait');
});

test('ICS: membership hears a life that is out, so that it learns it; not a former one', () => {
  assert.equal(rank(3, { contract: 'clms', state: 'DOWN' }), 'accepted');
  assert.equal(rank(4, { contract: 'clms', state: 'DOWN' }), 'accepted');
  assert.equal(rank(2, { contract: 'clms', state: 'DOWN' }), 'stale');
});

test("ICS: services of one node hear each other across its lives, whatever each one's view", () => {
  for (const bootCount of [2, 3, 4])
    for (const transid of [1, 9])
      assert.equal(rank(bootCount, { selfNode: 2, transid, state: 'DOWN' }), 'accepted');
});

test('ICS: a life is gone by a view that has it as such or names a later one, not by one that lags behind', () => {
  assert.equal(isGone(view('UP'), 2, life(3)), false);
  assert.equal(isGone(view('UP'), 2, undefined), false);
  assert.equal(isGone(view('DOWN'), 2, life(3)), true);
  assert.equal(isGone(view('DOWN'), 2, undefined), true);
  assert.equal(isGone(view('UP'), 2, life(2)), true);
  for (const state of ['UP', 'KCLEANUP', 'DOWN'] as const)
    assert.equal(isGone(view(state), 2, life(4)), false);
  assert.equal(isGone(view('UP'), 3, life(1)), false);
});
