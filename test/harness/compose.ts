// The project's compose.yaml for tests: started by testcontainers under a name of its own, talked to from
// this machine by the client library, single containers handled by docker compose.
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { connect, type Ssi } from '@ssi/client';
import { DockerComposeEnvironment, Wait } from 'testcontainers';
import { value } from './busy.ts';
import { waitUntil } from './wait-until.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

export interface ComposeCluster {
  readonly ssi: Ssi;
  /** docker compose ARGS of this project; rejects where it fails. */
  compose(...args: string[]): Promise<string>;
  /** The same with the next release's images over it. */
  next(...args: string[]): Promise<string>;
  /** `ssi ARGS` in the container of node `num`. */
  inNode(num: number, ...args: string[]): Promise<string>;
  /** Containers of this project, by name, with the health they tell. */
  health(): Promise<Map<string, string>>;
  waitHealthy(...services: string[]): Promise<void>;
  waitForStates(states: Readonly<Record<number, string>>, deadlineMs?: number): Promise<void>;
  describe(): Promise<string>;
  stop(): Promise<void>;
}

export const docker = (...args: string[]): Promise<string> =>
  new Promise((done, failed) => {
    execFile('docker', args, { cwd: root, maxBuffer: 64 << 20 }, (error, stdout, stderr) =>
      error
        ? failed(new Error(`docker ${args.join(' ')}: ${stderr || error.message}`))
        : done(stdout),
    );
  });

export async function startCompose(project: string): Promise<ComposeCluster> {
  await docker('info').catch(() => {
    throw new Error('no Docker engine answers here (docker info): the compose test needs one');
  });
  const files = ['-p', project, '-f', 'compose.yaml'];
  const compose = (...args: string[]) =>
    docker('compose', '--progress', 'quiet', ...files, ...args);
  const next = (...args: string[]) => compose('-f', 'test/compose/next/compose.yaml', ...args);
  const scratch = mkdtempSync(join(tmpdir(), 'ssi-compose-'));
  const environment = await new DockerComposeEnvironment(root, 'compose.yaml')
    .withProjectName(project)
    .withBuild()
    .withDefaultWaitStrategy(Wait.forHealthCheck())
    .withStartupTimeout(240_000)
    .up();
  let ssi: Ssi | undefined;
  const stop = async (): Promise<void> => {
    await ssi?.close();
    await compose('--profile', 'tools', 'down', '--volumes', '--timeout', '2', '--remove-orphans');
    rmSync(scratch, { recursive: true, force: true });
  };
  try {
    // As anybody on this machine would: the credential out of the cluster, the published port of the bus.
    const credential = join(scratch, 'user.json');
    writeFileSync(
      credential,
      await compose('exec', '-T', 'node2', 'cat', '/run/ssi/clusters/ssi/user.json'),
    );
    const port = environment.getContainer('nats-1').getMappedPort(4222);
    const env = { ...process.env, SSI_CREDS: credential, SSI_NATS: `nats://127.0.0.1:${port}` };
    ssi = value(await connect({ env }));
  } catch (error) {
    await stop();
    throw error;
  }
  const client = ssi;
  const health = async (): Promise<Map<string, string>> => {
    const listed = await compose('ps', '--all', '--format', '{{.Service}} {{.State}} {{.Health}}');
    return new Map(
      listed
        .trim()
        .split('\n')
        .map((line) => {
          const [service = '', state = '', told = ''] = line.split(' ');
          return [service, told || state] as const;
        }),
    );
  };
  const describe = async (): Promise<string> => {
    const logs = await compose('logs', '--tail', '15', '--no-color').catch(String);
    return `${await compose('ps', '--all').catch(String)}\n${logs}`;
  };
  return {
    ssi: client,
    compose,
    next,
    inNode: (num, ...args) => compose('exec', '-T', `node${num}`, 'ssi', ...args),
    health,
    waitHealthy: async (...services) => {
      await waitUntil(
        `healthy: ${services.join(' ')}`,
        async () => {
          const now = await health();
          return services.every((s) => now.get(s) === 'healthy');
        },
        90_000,
        describe,
      );
    },
    waitForStates: async (states, deadlineMs = 60_000) => {
      await waitUntil(
        `nodes ${JSON.stringify(states)}`,
        async () => {
          const nodes = await client.nodes();
          return (
            nodes.ok &&
            Object.entries(states).every(
              ([num, state]) => nodes.value.find((n) => n.num === Number(num))?.state === state,
            )
          );
        },
        deadlineMs,
        describe,
      );
    },
    describe,
    stop,
  };
}
