// A sample of the kills at the phase boundaries of a move; `npm run faults` has them all.
import { moveFaultsTest } from '../harness/move-faults-test.ts';

moveFaultsTest([
  { point: 'move.source.doubt', victim: 'target', dies: 'vproc' },
  { point: 'move.target.prepared', victim: 'source', dies: 'node' },
  { point: 'move.source.committing', victim: 'source', dies: 'vproc' },
  { point: 'move.source.killed', victim: 'origin', dies: 'node' },
]);
