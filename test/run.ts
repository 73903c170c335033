// What `npm test` runs, in order of cost: type check, lint, unit and simulation and integration tests,
// then the cluster in namespaces end to end, one file at a time. `run.ts FOLDER`: the tests of that only.
// The closing line counts everything: a check that fails counts as one.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { endLeftClusters } from './harness/cluster.ts';
import { waitUntil } from './harness/wait-until.ts';

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
const end = (code: number): never => {
  rmSync(scratch, { recursive: true, force: true });
  process.exit(code);
};

/** Interrupted, all of it is killed, its clusters end, and nothing comes after it. */
function start(args: readonly string[]): Promise<number> {
  return new Promise((done) => {
    // A process group of its own: workers, and what they have started.
    const options = { cwd: root, stdio: 'inherit', detached: true } as const;
    const child = spawn(process.execPath, [...args], options);
    const isThere = (signal: number | NodeJS.Signals = 0): boolean => {
      try {
        return child.pid !== undefined && process.kill(-child.pid, signal);
      } catch {
        return false;
      }
    };
    let interrupted = false;
    const interrupt = () => {
      interrupted = true;
      isThere('SIGKILL');
    };
    process.on('SIGINT', interrupt).on('SIGTERM', interrupt);
    child.once('exit', async (code) => {
      if (interrupted) {
        await waitUntil('its processes end', () => !isThere(), 10_000);
        await endLeftClusters();
        end(130);
      }
      process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
      done(code ?? 1);
    });
  });
}

const tool = (name: string, ...args: string[]): Phase => ({
  name,
  run: async () => {
    const code = await start(args);
    return { passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, skipped: 0 };
  },
});

const sum = (all: readonly Counts[]): Counts =>
  all.reduce(
    (a, b) => ({
      passed: a.passed + b.passed,
      failed: a.failed + b.failed,
      skipped: a.skipped + b.skipped,
    }),
    { passed: 0, failed: 0, skipped: 0 },
  );

interface FileReport {
  readonly name: string;
  readonly status: string;
  readonly assertionResults: readonly { readonly status: string }[];
}

const countsOf = ({ status, assertionResults }: FileReport): Counts => {
  const of = (wanted: string): number =>
    assertionResults.filter((test) => test.status === wanted).length;
  const [passed, failed] = [of('passed'), of('failed')];
  return {
    passed,
    // A file that does not even load fails no test: it counts as one.
    failed: status === 'failed' ? Math.max(failed, 1) : failed,
    skipped: assertionResults.length - passed - failed,
  };
};

/** Counts of each file. Rejects where vitest did not come to its end. */
async function runFiles(report: string, args: readonly string[]): Promise<Map<string, Counts>> {
  const code = await start([
    ...['node_modules/vitest/vitest.mjs', 'run', '--config', 'test/vitest.config.ts'],
    ...['--reporter=default', '--reporter=json', `--outputFile.json=${report}`, ...args],
  ]);
  const { testResults } = JSON.parse(readFileSync(report, 'utf8')) as {
    testResults: FileReport[];
  };
  const files = new Map(testResults.map((file) => [file.name, countsOf(file)]));
  if (code !== 0 && ![...files.values()].some((f) => f.failed > 0))
    files.set('outside of tests', { passed: 0, failed: 1, skipped: 0 });
  return files;
}

/**
 * These are real processes on a machine that others use too: a file with a failure is run once more, alone and
 * from its beginning, and what it says then counts. That it failed first is told.
 */
const vitest = (name: string, ...args: string[]): Phase => ({
  name,
  run: async () => {
    const report = join(scratch, `${name.replaceAll(/[ /]/g, '-')}.json`);
    try {
      const files = await runFiles(report, args);
      for (const [file, { failed }] of [...files].filter(([, f]) => f.failed > 0)) {
        if (!existsSync(file)) continue;
        console.log(`\n== ${file}: ${failed} failed; once more`);
        const options = args.filter((arg) => arg.startsWith('--'));
        const again = await runFiles(report, [relative(root, file), ...options]);
        for (const [name, counts] of again) files.set(name, counts);
        if ([...again.values()].every((f) => f.failed === 0)) flaky.push(relative(root, file));
      }
      return sum([...files.values()]);
    } catch (error) {
      console.log(`== ${name}: ${error}`);
      return { passed: 0, failed: 1, skipped: 0 };
    }
  },
});
const flaky: string[] = [];

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

await endLeftClusters();
const all: Counts[] = [];
for (const phase of phases) {
  console.log(`\n== ${phase.name}`);
  const began = performance.now();
  all.push(await phase.run());
  console.log(`== ${phase.name}: ${((performance.now() - began) / 1000).toFixed(1)} s`);
}
const total = sum(all);
for (const file of flaky) console.log(`failed first, then passed: ${file}`);
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
end(total.failed > 0 || total.passed === 0 ? 1 : 0);
