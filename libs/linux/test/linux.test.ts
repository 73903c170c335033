// The bindings: clock, timers, log, random, pipes, the poller, priority.
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { tmpdir, uptime } from 'node:os';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  boottimeMs,
  errnoName,
  errnoOf,
  jsonLog,
  makeFifo,
  Poller,
  pollHup,
  pollIn,
  punchHole,
  seek,
  sendSignal,
  splice,
  systemClock,
  systemRandom,
  unread,
} from '../src/index.ts';

describe('linux', () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(`${tmpdir()}/ssi-linux-`);
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  test('the clock is the time since boot, and a timer is never early', async () => {
    const clock = systemClock();
    expect(Math.abs(clock.nowMs() - uptime() * 1e3)).toBeLessThan(1_000);
    for (const delayMs of [0, 1.5, 7]) {
      const from = boottimeMs();
      await new Promise<void>((done) => void clock.after(delayMs, done));
      expect(boottimeMs() - from).toBeGreaterThanOrEqual(delayMs);
    }
    let ran = false;
    clock
      .after(1, () => {
        ran = true;
      })
      .cancel();
    await new Promise<void>((done) => void clock.after(20, done));
    expect(ran).toBe(false);
  });

  test.skipIf(process.getuid?.() !== 0)(
    'a process that goes first does so in its session too',
    () => {
      const script = `import { goFirst } from '${new URL('../src/index.ts', import.meta.url)}';
      import { readdirSync, readFileSync } from 'node:fs';
      import { getPriority } from 'node:os';
      let group = 'none';
      const reply = goFirst();
      try { group = readFileSync('/proc/self/autogroup', 'utf8').trim(); } catch {}
      const threads = readdirSync('/proc/self/task').map((id) => getPriority(Number(id)));
      console.log(JSON.stringify({ reply: reply.ok, threads, group }));`;
      // In a session of its own: the test's own keeps its place.
      const run = spawnSync('setsid', [
        '--wait',
        process.execPath,
        '--input-type=module',
        '-e',
        script,
      ]);
      const seen = JSON.parse(run.stdout.toString());
      expect(seen.reply).toBe(true);
      expect(seen.threads.length).toBeGreaterThan(1);
      expect(new Set(seen.threads)).toEqual(new Set([-19]));
      expect(seen.group).toMatch(/^none$|nice -19$/);
    },
  );

  test('a log line is one JSON object with the fields of its log', () => {
    const lines: string[] = [];
    const log = jsonLog({
      ...{ fields: { node: 2 }, write: (line: string) => void lines.push(line), wallMs: () => 0 },
    });
    log.with({ requestId: 'a' }).warn('odd', { error: new TypeError('x') });
    log.debug('left out');
    expect(lines).toEqual([
      '{"time":"1970-01-01T00:00:00.000Z","level":"warn","text":"odd","node":2,"requestId":"a","error":"TypeError: x"}\n',
    ]);
  });

  test('random numbers lie in [0, 1), hex has two digits a byte', () => {
    const random = systemRandom();
    for (let i = 0; i < 1000; i++) {
      const x = random.float();
      expect(x >= 0 && x < 1).toBe(true);
    }
    expect(random.hex(16)).toMatch(/^[0-9a-f]{32}$/);
    expect(random.hex(16)).not.toBe(random.hex(16));
  });

  test('splice moves bytes and position at once; an empty pipe is EAGAIN', async () => {
    expect(makeFifo(`${dir}/fifo`, 0o600)).toBe(0);
    expect(errnoName(makeFifo(`${dir}/fifo`, 0o600))).toBe('EEXIST');
    const reader = openSync(`${dir}/fifo`, constants.O_RDONLY | constants.O_NONBLOCK);
    const writer = openSync(`${dir}/fifo`, 'w');
    const log = openSync(`${dir}/log`, 'w+');
    const poller = new Poller();
    poller.set(reader, pollIn);
    expect(errnoName(splice(reader, log, 100))).toBe('EAGAIN');
    const waiting = poller.wait(10_000);
    writeSync(writer, 'hello');
    expect(await waiting).toEqual([{ fd: reader, events: pollIn }]);
    expect(unread(reader)).toBe(5);
    expect(splice(reader, log, 100)).toBe(5);
    expect(seek(log, 0, 'current')).toBe(5);
    closeSync(writer);
    const [ready] = await poller.wait(10_000);
    expect((ready?.events ?? 0) & pollHup).toBe(pollHup);
    expect(splice(reader, log, 100)).toBe(0);
    poller.set(reader, 0);
    const idle = poller.wait(10_000);
    poller.wake();
    expect(await idle).toEqual([]);
    poller.close();
    expect(readFileSync(`${dir}/log`, 'latin1')).toBe('hello');
    for (const fd of [reader, log]) closeSync(fd);
  });

  test('a punched hole reads as zeros, the size stays', () => {
    const file = openSync(`${dir}/sparse`, 'w+');
    writeSync(file, 'x'.repeat(8192));
    const result = punchHole(file, 0, 4096);
    closeSync(file);
    if (errnoName(result) === 'EOPNOTSUPP') return; // a file system without holes
    expect(readFileSync(`${dir}/sparse`, 'latin1')).toBe(`${'\0'.repeat(4096)}${'x'.repeat(4096)}`);
  });

  test('errnos by number and by Node code', () => {
    expect(errnoName(sendSignal(2 ** 22 + 1, 0))).toBe('ESRCH');
    expect(errnoOf(Object.assign(new Error(), { code: 'ENOSPC' }))).toBe('ENOSPC');
    expect(errnoOf(new Error('anything'))).toBe('EIO');
  });
});
