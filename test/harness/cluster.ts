// A real cluster for a test, used through the command line as a script would: three nodes in namespaces
// with real NATS, Redis and criu. Verbs: start, stop, ssi, kill, freeze, heal, output.
import { execFile, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { program } from '@ssi/cli';
import { type ClusterFile, clusterFile } from '@ssi/client';
import { holds, isService } from './host-proc.ts';
import { waitUntil } from './wait-until.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
export const cli = program('libs/cli/src/main.ts');

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Native processes need root, criu and the guard; a test that needs them is skipped elsewhere. */
export const canRunNative =
  process.platform === 'linux' &&
  process.getuid?.() === 0 &&
  existsSync(`${root}.tools/bin/criu`) &&
  existsSync(`${root}.tools/native/ssi-guard`);

export interface TestCluster {
  readonly name: string;
  readonly file: () => ClusterFile;
  /** Runs `ssi ARGS` and gives what it printed. Never throws. */
  ssi(...args: string[]): Promise<CommandResult>;
  /** Same, must succeed; parses its JSON. */
  json<T>(...args: string[]): Promise<T>;
  /** Host pid of a service of a node. */
  servicePid(num: number, service: string): number;
  describe(): Promise<string>;
  stop(): Promise<void>;
}

/** One `ssi` command with these variables besides our own; never throws. */
export function runSsi(args: readonly string[], env: NodeJS.ProcessEnv): Promise<CommandResult> {
  return new Promise((done) => {
    const child = execFile(
      process.execPath,
      [cli, ...args],
      { env: { ...process.env, ...env }, maxBuffer: 64 * 2 ** 20, timeout: 120_000 },
      (error, stdout, stderr) =>
        done({
          code: error ? (typeof error.code === 'number' ? error.code : 1) : 0,
          stdout,
          stderr,
        }),
    );
    child.stdin?.end();
  });
}

/** Of test runs that were killed: named after a process that is not there any more. */
export async function endLeftClusters(): Promise<void> {
  const dir = '/run/ssi/clusters';
  for (const name of existsSync(dir) ? readdirSync(dir) : []) {
    const pid = /^t(\d+)x\d+$/.exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`))
      await runSsi(['down'], { SSI_CLUSTER: name });
  }
}

let counter = 0;

export async function startCluster(
  options: {
    nodes?: number;
    env?: Record<string, string>;
    nats?: string;
    /** With a file system of the cluster. */
    cfs?: true;
  } = {},
): Promise<TestCluster> {
  const name = `t${process.pid}x${counter++}`;
  const env = { ...process.env, SSI_CLUSTER: name, ...options.env };
  delete (env as NodeJS.ProcessEnv).SSI_NATS;
  const ssi = (...args: string[]): Promise<CommandResult> => runSsi(args, env);
  const json = async <T>(...args: string[]): Promise<T> => {
    const result = await ssi(...args);
    if (result.code !== 0)
      throw new Error(
        `ssi ${args.join(' ')}: exit ${result.code}\n${result.stdout}${result.stderr}`,
      );
    return JSON.parse(result.stdout) as T;
  };
  const file = (): ClusterFile =>
    clusterFile.parse(JSON.parse(readFileSync(`/run/ssi/clusters/${name}/cluster.json`, 'utf8')));
  const describe = async (): Promise<string> => {
    const nodes = await ssi('nodes', '--json');
    const ps = await ssi('ps', '--json');
    return `nodes: ${nodes.stdout}${nodes.stderr}\nps: ${ps.stdout}${ps.stderr}\n${tailLogs(name)}`;
  };
  const bus = options.nats === undefined ? [] : ['--nats', options.nats];
  const more = [...bus, ...(options.cfs ? ['--cfs'] : [])];
  const up = await ssi('up', '--nodes', String(options.nodes ?? 3), '--detach', ...more);
  const cluster: TestCluster = {
    name,
    file,
    ssi,
    json,
    describe,
    servicePid: (num, service) => findService(file(), num, service),
    stop: async () => {
      const down = await ssi('down');
      if (down.code !== 0) throw new Error(`ssi down: ${down.stdout}${down.stderr}`);
    },
  };
  if (up.code !== 0) {
    const logs = tailLogs(name);
    await ssi('down');
    throw new Error(`ssi up: exit ${up.code}\n${up.stdout}${up.stderr}\n${logs}`);
  }
  return cluster;
}

function tailLogs(name: string): string {
  const dir = `/run/ssi/clusters/${name}`;
  if (!existsSync(dir)) return '(no cluster folder)';
  return readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .filter((f) => f.endsWith('.log'))
    .map((f) => `--- ${f}\n${readFileSync(`${dir}/${f}`, 'utf8').slice(-2_000)}`)
    .join('\n');
}

/** Host pid of a service of node `num`; of its two memberships the active one. */
function findService(cluster: ClusterFile, num: number, service: string): number {
  for (const pid of readdirSync('/proc').filter((n) => /^\d+$/.test(n))) {
    try {
      if (!isService(readFileSync(`/proc/${pid}/cmdline`, 'latin1'), service)) continue;
      const environ = readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0');
      if (!environ.includes(`SSI_CLUSTER=${cluster.name}`) || !environ.includes(`SSI_NODE=${num}`))
        continue;
      if (service === 'membership' && !holds(pid, `@ssi-membership-${cluster.name}-${num}`))
        continue;
      return Number(pid);
    } catch {
      // It ended meanwhile.
    }
  }
  throw new Error(`no ${service} of node ${num}`);
}

export interface NodeRow {
  readonly num: number;
  readonly name: string;
  readonly state: string;
  readonly incarnation: unknown;
  readonly services: readonly { name: string; state: string }[];
}

export const waitForStates = (
  cluster: TestCluster,
  want: Readonly<Record<number, string>>,
  deadlineMs = 45_000,
): Promise<NodeRow[]> =>
  waitUntil(
    `nodes ${JSON.stringify(want)}`,
    async () => {
      const result = await cluster.ssi('nodes', '--json');
      if (result.code !== 0) return undefined;
      const rows = JSON.parse(result.stdout) as NodeRow[];
      return Object.entries(want).every(([num, state]) =>
        rows.some((r) => r.num === Number(num) && r.state === state),
      )
        ? rows
        : undefined;
    },
    deadlineMs,
    cluster.describe,
  );

/** A foreground `ssi` whose output is collected as it comes. */
export function follow(cluster: TestCluster, ...args: string[]) {
  const child = spawn(process.execPath, [cli, ...args], {
    env: { ...process.env, SSI_CLUSTER: cluster.name },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const seen = { stdout: '', stderr: '' };
  child.stdout.on('data', (d: Buffer) => {
    seen.stdout += d;
  });
  child.stderr.on('data', (d: Buffer) => {
    seen.stderr += d;
  });
  const ended = new Promise<number>((done) => child.once('exit', (code) => done(code ?? -1)));
  return { child, seen, ended };
}
