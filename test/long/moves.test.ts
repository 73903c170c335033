// 200 moves in a row, of a shell pipeline and of a busy program with threads and children.
import { movesTest } from '../harness/moves-test.ts';

movesTest(200);
