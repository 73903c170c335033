// The short form of test/long/moves.test.ts.
import { movesTest } from '../harness/moves-test.ts';

movesTest(9);
