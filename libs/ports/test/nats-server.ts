// A nats-server of a test's own: free port, own folder, JetStream that syncs each write. The only starter
// of one in the tests; it lies here because every package may import from ports.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface NatsServer {
  readonly url: string;
  readonly port: number;
  /** SIGKILL; the folder stays. */
  kill(): Promise<void>;
  /** Starts it on the same port and folder; `empty` clears the folder first. */
  start(options?: { empty?: boolean }): Promise<void>;
  /** It stands still (SIGSTOP) until `resume`: its connections stay, and nobody answers. */
  pause(): void;
  resume(): void;
  stop(): Promise<void>;
}

const binary = fileURLToPath(new URL('../../../.tools/bin/nats-server', import.meta.url));
/** False before infra/setup: tests that need it are skipped then. */
export const hasNatsServer = existsSync(binary);

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  await new Promise((done) => server.close(done));
  if (!address || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** `more`: further lines of its configuration; `store` false: without JetStream. */
export async function startNatsServer(
  more: readonly string[] = [],
  { store = true } = {},
): Promise<NatsServer> {
  const dir = mkdtempSync(join(tmpdir(), 'ssi-nats-'));
  const port = await freePort();
  const config = join(dir, 'nats.conf');
  const log = join(dir, 'nats.log');
  writeFileSync(
    config,
    [
      `listen: "127.0.0.1:${port}"`,
      ...(store ? [`jetstream { store_dir: "${join(dir, 'js')}", sync_interval: always }`] : []),
      ...more,
      '',
    ].join('\n'),
  );
  let child: ChildProcess | undefined;

  const server: NatsServer = {
    url: `nats://127.0.0.1:${port}`,
    port,
    async start(options) {
      if (options?.empty) rmSync(join(dir, 'js'), { recursive: true, force: true });
      rmSync(log, { force: true });
      child = spawn(binary, ['-c', config, '-l', log], { stdio: 'ignore' });
      for (const deadline = performance.now() + 15_000; ; ) {
        try {
          if (readFileSync(log, 'utf8').includes('Server is ready')) return;
        } catch {
          // Not written yet.
        }
        if (performance.now() > deadline || child.exitCode !== null)
          throw new Error(`nats-server did not start: ${dir}`);
        await new Promise((done) => setTimeout(done, 20));
      }
    },
    async kill() {
      const c = child;
      child = undefined;
      if (!c || c.exitCode !== null) return;
      const exited = once(c, 'exit');
      c.kill('SIGKILL');
      await exited;
    },
    pause: () => void child?.kill('SIGSTOP'),
    resume: () => void child?.kill('SIGCONT'),
    async stop() {
      await server.kill();
      rmSync(dir, { recursive: true, force: true });
    },
  };
  await server.start();
  return server;
}
