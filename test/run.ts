// What `npm test` runs, in order of cost: type check, lint, unit and simulation and integration tests,
// then the cluster in namespaces end to end, one file at a time. `run.ts FOLDER`: the tests of that only.
// The closing line counts everything: a check that fails counts as one.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}
interface Phase {
  readonly name: string;
  run(): Promise<Counts>;
}

const root = fileURLToPath(new URL('..', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'ssi-test-'));

function start(args: readonly string[]): Promise<number> {
  return new Promise((done) => {
    const child = spawn(process.execPath, [...args], { cwd: root, stdio: 'inherit' });
    const pass = (name: NodeJS.Signals) => child.kill(name);
    process.once('SIGINT', pass).once('SIGTERM', pass);
    child.once('exit', (code) => done(code ?? 1));
  });
}

const tool = (name: string, ...args: string[]): Phase => ({
  name,
  run: async () => {
    const code = await start(args);
    return { passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, skipped: 0 };
  },
});

const vitest = (name: string, ...args: string[]): Phase => ({
  name,
  run: async () => {
    const report = join(scratch, `${name.replaceAll(/[ /]/g, '-')}.json`);
    const code = await start([
      ...['node_modules/vitest/vitest.mjs', 'run', '--config', 'test/vitest.config.ts'],
      ...['--reporter=default', '--reporter=json', `--outputFile.json=${report}`, ...args],
    ]);
    try {
      const r = JSON.parse(readFileSync(report, 'utf8'));
      const failed: number = r.numFailedTests;
      // A file that does not even load fails no test: count it.
      const broken = code !== 0 && failed === 0 ? 1 : 0;
      return { passed: r.numPassedTests, failed: failed + broken, skipped: r.numPendingTests };
    } catch {
      return { passed: 0, failed: 1, skipped: 0 };
    }
  },
});

/** One at a time; a cluster's start alone takes a third of this where the machine is busy. */
const realCluster = ['--no-file-parallelism', '--testTimeout=90000', '--hookTimeout=120000'];

const quick: Phase[] = [
  tool('type check', 'node_modules/typescript/bin/tsc', '-b'),
  tool('lint', 'node_modules/@biomejs/biome/bin/biome', 'check', '--error-on-warnings'),
  vitest('unit', 'libs/', 'services/', 'test/sim', 'test/scenarios', 'test/integration'),
  vitest('end to end', 'test/e2e', ...realCluster),
];
/** What is too long for `npm test`, each with a script of its own. */
const [folder] = process.argv.slice(2);
const phases = folder ? [vitest(folder, folder, ...realCluster)] : quick;

const total: Counts = { passed: 0, failed: 0, skipped: 0 };
for (const phase of phases) {
  console.log(`\n== ${phase.name}`);
  const began = performance.now();
  const counts = await phase.run();
  total.passed += counts.passed;
  total.failed += counts.failed;
  total.skipped += counts.skipped;
  console.log(`== ${phase.name}: ${((performance.now() - began) / 1000).toFixed(1)} s`);
}
rmSync(scratch, { recursive: true, force: true });
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;
