// A nats-server of the project's own tools on a free loopback port, with JetStream in a temporary
// folder, for one test file.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, watch } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const natsServerPath = fileURLToPath(
  new URL('../../../.tools/bin/nats-server', import.meta.url),
);
export const hasNatsServer = existsSync(natsServerPath);

export async function startNatsServer(): Promise<{ url: string; stop(): Promise<void> }> {
  const dir = mkdtempSync(join(tmpdir(), 'ssi-nats-'));
  const child = spawn(
    natsServerPath,
    ['-a', '127.0.0.1', '-p', '-1', '-js', '-sd', dir, '--ports_file_dir', dir],
    { stdio: 'ignore' },
  );
  const portsFile = join(dir, `nats-server_${child.pid}.ports`);
  const ended = new Promise<void>((done) => child.once('exit', () => done()));
  const url = await new Promise<string>((done, fail) => {
    const watcher = watch(dir, look);
    child.once('exit', () => {
      watcher.close();
      fail(new Error('nats-server ended before it listened'));
    });
    function look(): void {
      if (!existsSync(portsFile)) return;
      const text = readFileSync(portsFile, 'utf8');
      const at = /nats:\/\/[^"]+/.exec(text)?.[0];
      if (!at) return; // not written whole yet
      watcher.close();
      done(at);
    }
    look();
  });
  return {
    url,
    stop: async () => {
      child.kill('SIGTERM');
      await ended;
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
