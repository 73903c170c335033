// The adapters against the real thing, small: files, a guard's socket, commands, datagrams.
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@ssi/linux';
import { noLog } from '@ssi/ports';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openDisk } from '../src/adapters/disk.file.ts';
import { commandFence, commandScript } from '../src/adapters/fence.command.ts';
import { openGuardSocket } from '../src/adapters/guard.socket.ts';
import { emptyView } from '../src/view.ts';

const clock = systemClock();
let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'ssi-clms-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

describe('CLMS: disk', () => {
  const open = () => openDisk({ stateDir: join(dir, 'disk'), lifeDir: join(dir, 'tmpfs') });

  test('what was saved is loaded, by file; a node that rebooted has no life, a new disk nothing', async () => {
    expect(await open().load()).toEqual({ bootCount: 0 });
    const disk = open();
    const incarnation = { bootCount: 4, bootId: 'a'.repeat(16) };
    const life = { incarnation, promise: { term: 3, to: 2, life: 'b'.repeat(16) } };
    const remembered = { clusterId: 'c', view: { ...emptyView(16), transid: 9 } };
    await Promise.all([disk.saveBootCount(4), disk.saveLife(life), disk.saveView(remembered)]);
    expect(await open().load()).toEqual({ bootCount: 4, life, remembered });
    rmSync(join(dir, 'tmpfs'), { recursive: true });
    expect(await open().load()).toEqual({ bootCount: 4, remembered });
  });

  test('writes land in the order of the calls; a torn or foreign file is as good as none', async () => {
    const disk = open();
    const views = Array.from({ length: 20 }, (_, i) => ({
      clusterId: 'c',
      view: { ...emptyView(16), transid: i },
    }));
    await Promise.all(views.map((v) => disk.saveView(v)));
    expect((await disk.load()).remembered?.view.transid).toBe(19);
    truncateSync(join(dir, 'disk', 'view.json'), 20);
    writeFileSync(join(dir, 'disk', 'boot.json'), '{"bootCount":"many"}');
    expect(await open().load()).toEqual({ bootCount: 0 });
  });
});

describe('CLMS: guard socket', () => {
  function guard(
    path: string,
    answer: (line: string) => string,
  ): { server: Server; lines: string[] } {
    const lines: string[] = [];
    const server = createServer((socket) => {
      socket.setEncoding('utf8');
      socket.on('data', (text: string) => {
        for (const line of text.split('\n').filter(Boolean)) {
          lines.push(line);
          socket.write(`${answer(line)}\n`);
        }
      });
    }).listen(path);
    return { server, lines };
  }
  const connected = (g: ReturnType<typeof openGuardSocket>, lines: string[]) =>
    (async () => {
      for (const endMs = performance.now() + 5_000; lines.length === 0; ) {
        if (performance.now() > endMs) throw new Error('no lease came');
        g.lease(123.9);
        await new Promise((done) => setTimeout(done, 10));
      }
    })();

  test('leases are whole ms, rounded down; kill answers when the guard does, EIO as the guard says', async () => {
    const path = join(dir, 'guard.sock');
    let kill = 'ok';
    const { server, lines } = guard(path, (line) => (line === 'kill' ? kill : 'ok'));
    const g = openGuardSocket({ path, clock, log: noLog });
    await connected(g, lines);
    expect(lines[0]).toBe('lease 123');
    expect(await g.kill()).toMatchObject({ ok: true });
    kill = 'error EIO cannot';
    expect(await g.kill()).toMatchObject({ ok: false, errno: 'EIO' });
    g.close();
    server.close();
  });

  test('EIO without a guard, nothing thrown; it comes back by itself', async () => {
    const path = join(dir, 'guard.sock');
    const g = openGuardSocket({ path, clock, log: noLog });
    g.lease(100);
    expect(await g.kill()).toMatchObject({ ok: false, errno: 'EIO' });
    const { server, lines } = guard(path, () => 'ok');
    await connected(g, lines);
    g.close();
    server.close();
  });
});

describe('CLMS: fence agent and nodedown script', () => {
  const node = { num: 3, incarnation: { bootCount: 7, bootId: 'a'.repeat(16) } };

  test('the command is told whom; its exit status decides', async () => {
    const out = join(dir, 'out');
    const fence = (command: string) => commandFence({ command, clock }).fence(node);
    expect(await fence(`echo $SSI_FENCE_NODE $SSI_FENCE_BOOT > ${out}`)).toMatchObject({
      ok: true,
    });
    expect(readFileSync(out, 'utf8')).toBe('3 7\n');
    expect(await fence('exit 3')).toMatchObject({ ok: false, errno: 'EIO' });
    const script = commandScript({ command: `echo $SSI_DEAD $SSI_TRANSID > ${out}`, clock });
    expect(await script.run([node, { ...node, num: 5 }], 42)).toMatchObject({ ok: true });
    expect(readFileSync(out, 'utf8')).toBe('3,5 42\n');
  });
});
