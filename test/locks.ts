// npm run locks -- ROUNDS (200): critical sections under faults, our locks beside redlock and etcd. Ends with 1
// where two sections of ours overlapped and the register took it.
import { lockFaults } from './harness/lock-faults.ts';

const rounds = Number(process.argv[2] ?? 200);
const results = await lockFaults(rounds, (line) => console.log(line));
console.log(`${rounds} rounds`);
console.table(results);
process.exit(results.some((r) => r.peer === 'ssi' && r.overlaps > 0) ? 1 : 0);
