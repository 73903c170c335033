// The entry as a process of its own: what it ends with, and that it ends in good order.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { hasNatsServer, startNatsServer } from '../../ports/test/nats-server.ts';

const program = fileURLToPath(new URL('./program.ts', import.meta.url));

/** `onText` is told all that it has said so far, each time it says something. */
async function run(env: Record<string, string>, onText?: (text: string, pid: number) => void) {
  const child = spawn(process.execPath, [program], {
    env: { PATH: process.env.PATH ?? '', SSI_CLUSTER: 'c', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  const hear = (piece: Buffer) => {
    text += piece;
    onText?.(text, child.pid ?? 0);
  };
  child.stdout.on('data', hear);
  child.stderr.on('data', hear);
  const [code] = await once(child, 'close');
  return { code, text };
}

describe('the process of a service', () => {
  test('a bad environment: 64, and the variable is named', async () => {
    const { code, text } = await run({ SSI_NODE: '0', SSI_NATS: 'nats://127.0.0.1:1' });
    expect(code).toBe(64);
    expect(text).toMatch(/^dlm: EINVAL .*SSI_NODE/s);
  });

  test('a credential that is not there: 1', async () => {
    const where = { SSI_NODE: '1', SSI_NATS: 'nats://127.0.0.1:1', SSI_CREDS: '/nonexistent' };
    const { code, text } = await run(where);
    expect(code).toBe(1);
    expect(text).toContain('EACCES');
  });

  test.skipIf(!hasNatsServer)('SIGTERM, and again: stopped once, 0', async () => {
    const nats = await startNatsServer();
    try {
      let asked = false;
      const health = join(mkdtempSync(join(tmpdir(), 'ssi-entry-')), 'health');
      const env = { SSI_NODE: '1', SSI_NATS: nats.url, SSI_HEALTH_FILE: health };
      const { code, text } = await run(env, (soFar, pid) => {
        if (asked || !soFar.includes('ready')) return;
        asked = true;
        expect(existsSync(health)).toBe(true);
        rmSync(dirname(health), { recursive: true });
        process.kill(pid, 'SIGTERM');
        process.kill(pid, 'SIGTERM');
      });
      expect({ code, asked }, text).toEqual({ code: 0, asked: true });
      expect(text.split('stopping')).toHaveLength(2);
    } finally {
      await nats.stop();
    }
  });
});
