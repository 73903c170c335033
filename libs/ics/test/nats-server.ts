// A nats-server of its own for a test, on a free port.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const own = fileURLToPath(new URL('../../../.tools/bin/nats-server', import.meta.url));

export interface NatsServer {
  readonly url: string;
  readonly port: number;
  readonly process: ChildProcess;
  stop(): Promise<void>;
}

export async function startNats(port = -1, more: string[] = []): Promise<NatsServer> {
  const child = spawn(
    existsSync(own) ? own : 'nats-server',
    ['-a', '127.0.0.1', '-p', `${port}`, ...more],
    {
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  );
  const found = await new Promise<number>((resolve, reject) => {
    let text = '';
    let listening = 0;
    child.on('error', reject);
    child.on('exit', (code) => reject(new Error(`nats-server ended with ${code}: ${text}`)));
    child.stderr.on('data', (chunk) => {
      text += chunk;
      const m = /Listening for client connections on 127\.0\.0\.1:(\d+)/.exec(text);
      if (m?.[1]) listening = Number(m[1]);
      if (listening > 0 && text.includes('Server is ready')) resolve(listening);
    });
  });
  child.removeAllListeners('exit');
  return {
    url: `nats://127.0.0.1:${found}`,
    port: found,
    process: child,
    stop: () =>
      new Promise((done) => {
        if (child.exitCode !== null || child.signalCode !== null) return done();
        child.on('exit', () => done());
        child.kill('SIGKILL');
      }),
  };
}
