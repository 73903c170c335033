// Every phase boundary of a move, each with a death of the source, the target or the origin: of its vproc,
// then of the whole node; and a node that is stopped there for longer than its lease.
import { type FaultCase, movePoints, type Victim } from '../harness/move-faults.ts';
import { moveFaultsTest } from '../harness/move-faults-test.ts';

const victims: readonly Victim[] = ['source', 'target', 'origin'];
const only = process.env.FAULT_CASES?.split(',');

moveFaultsTest(
  (['vproc', 'node', 'pause'] as const)
    .flatMap((dies) =>
      movePoints.flatMap((point) => victims.map((victim): FaultCase => ({ point, victim, dies }))),
    )
    .filter(
      (c) => !only || only.includes(`${c.dies}:${c.victim}:${c.point}`) || only.includes(c.dies),
    ),
  !only || only.includes('trouble'),
);
