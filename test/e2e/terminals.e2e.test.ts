// `ssi run -t`: a shell on a terminal that is moved while somebody works on it, and a program that is fed
// by its terminal as fast as it reads, over twenty moves.
import { crc32 } from 'node:zlib';
import { connect, type Ssi } from '@ssi/client';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { program, value } from '../harness/busy.ts';
import { canRunNative, startCluster, type TestCluster } from '../harness/cluster.ts';
import { percentile } from '../harness/moves.ts';
import { numberedOutput } from '../harness/numbered.ts';
import { openTerminal, type Terminal } from '../harness/pty.ts';
import { waitUntil } from '../harness/wait-until.ts';

const ctrl = (letter: string): string => String.fromCharCode(letter.charCodeAt(0) & 0x1f);
const moves = 20;
/** busy.py tells every 200 lines of input that it has checked. */
const toldLines = 200;

describe.skipIf(!canRunNative)('end to end: terminals', () => {
  let cluster: TestCluster;
  let ssi: Ssi;
  const open: Terminal[] = [];
  beforeAll(async () => {
    cluster = await startCluster();
    ssi = value(await connect({ cluster: cluster.name }));
  }, 120_000);
  afterEach(() => {
    for (const terminal of open.splice(0)) terminal.close();
  });
  afterAll(async () => {
    await ssi?.close();
    await cluster?.stop();
  }, 60_000);
  const terminal = (...args: string[]): Terminal => {
    const made = openTerminal(cluster, { rows: 30, cols: 100 }, ...args);
    open.push(made);
    return made;
  };

  test('a shell: job control, window size, another terminal, before and after moves', {
    timeout: 120_000,
  }, async () => {
    const first = terminal('run', '-t', '--node', '1', '--', '/bin/bash', '--norc', '--noprofile');
    // Each answer has a form that the typed line itself has not: the terminal echoes that.
    first.type('PS1="<p>"; echo "pid=$$ size=$(stty size)"\n');
    const [, pidText = '', size] = await first.sees(/pid=(\d+) size=(\d+ \d+)/);
    const pid = Number(pidText);
    expect(size).toBe('30 100');

    first.type('sleep 1000\n');
    // Before it is sleep it is a shell that does not yet have the terminal.
    const sleeps = async (): Promise<boolean> =>
      value(await ssi.ps()).processes.some(
        (p) => p.ppid === pid && p.command.startsWith('sleep') && p.state === 'sleeping',
      );
    await waitUntil('sleep runs', sleeps, 15_000);
    first.type(ctrl('Z'));
    await first.sees(/Stopped\s+sleep 1000/);
    value(await ssi.migrate(pid, 2));
    first.type('jobs; echo "still=$(jobs | grep -c Stopped)"\n');
    await first.sees(/Stopped\s+sleep 1000/);
    await first.sees(/still=1/);
    first.type('fg\n');
    await waitUntil('sleep goes on', sleeps, 15_000);
    first.type(ctrl('C'));
    await first.sees(/<p>/);
    first.type('echo "status=$?"\n');
    await first.sees(/status=130/);

    first.resize(41, 123);
    const resized = async (): Promise<string> => {
      first.type('echo "now=$(stty size)"\n');
      return (await first.sees(/now=(\d+ \d+)/))[1] ?? '';
    };
    // The news of the size takes its own way to the node, beside what is typed.
    await waitUntil('the new size', async () => (await resized()) === '41 123', 15_000);

    first.type('cat\n');
    // Typed ahead it would meet the shell's own line editing.
    const cats = async (): Promise<boolean> =>
      value(await ssi.ps()).processes.some(
        (p) => p.ppid === pid && p.command === 'cat' && p.state === 'sleeping',
      );
    await waitUntil('cat runs', cats, 15_000);
    first.type('before\n');
    await first.sees(/before\s+before\s/);
    value(await ssi.migrate(pid, 3));
    first.type('after\n');
    await first.sees(/after\s+after\s/);
    first.type(ctrl('C'));
    await first.sees(/<p>/);
    expect(await resized()).toBe('41 123');

    first.type(ctrl(']'));
    expect(await first.ended).toBe(0);
    const second = terminal('attach', '-t', '--new', String(pid));
    second.type('echo "again=$((6 * 7)) by=$$"\n');
    expect((await second.sees(/again=42 by=(\d+)/))[1]).toBe(pidText);
    value(await ssi.migrate(pid, 1));
    second.type('echo "home=$((6 * 9))"\n');
    await second.sees(/home=54/);
    second.type('exit 5\n');
    expect(await second.ended).toBe(5);
  });

  test(`${moves} moves under traffic both ways: nothing lost or doubled`, {
    timeout: 240_000,
  }, async () => {
    const raw = 'stty raw -echo && exec /usr/bin/python3 "$0"';
    const { pid } = value(
      await ssi.run({
        argv: ['/bin/bash', '-c', raw, program('busy.py')],
        env: { PATH: '/usr/bin:/bin', TERM: 'dumb' },
        cwd: '/',
        node: 1,
        tty: { rows: 24, cols: 80 },
      }),
    );
    const output = numberedOutput();
    const attachment = ssi.attach(pid, { input: true });
    const reading = (async () => {
      for await (const event of attachment.events()) {
        if (event.type === 'data') output.feed(event.bytes);
        if (event.type === 'gap') output.feed(`BAD ${event.bytes} bytes gone\n`);
        if (event.type === 'failed') output.feed(`BAD ${event.failure.detail}\n`);
      }
    })();
    const lines = (): number => output.report().next.get('t0') ?? 0;
    // Until then the terminal would echo.
    await waitUntil('it runs', () => lines() > 0, 15_000);
    let feeding = true;
    const fed = (async () => {
      let n = 0;
      while (feeding || n % toldLines > 0) {
        let block = '';
        for (const end = n + 20; n < end; n++) block += `${n} ${crc32(String(n)).toString(16)}\n`;
        value(await attachment.write(Buffer.from(block)));
        await new Promise((done) => setTimeout(done, 5));
      }
      return n;
    })();
    const freezes: number[] = [];
    for (let i = 0; i < moves; i++) {
      const [written, checked] = [lines(), output.report().checkedInput];
      const moved = await ssi.migrate(pid, ((i + 1) % 3) + 1);
      expect(moved, JSON.stringify(output.report().wrong)).toMatchObject({ ok: true });
      freezes.push(value(moved).freezeMs);
      const goesOn = () => lines() >= written + 50 && output.report().checkedInput > checked;
      await waitUntil(`traffic after move ${i}`, goesOn, 20_000, () =>
        JSON.stringify(output.report().wrong),
      );
    }
    feeding = false;
    const sent = await fed;
    await waitUntil(
      'all input',
      () => output.report().checkedInput === sent,
      30_000,
      () => JSON.stringify(output.report()),
    );
    expect(output.report().wrong).toEqual([]);
    console.log(
      `terminal: ${moves} moves, ${sent} lines in, ${lines()} lines of one of 5 series out; freeze p50 ${percentile(freezes, 50).toFixed(0)} ms, p99 ${percentile(freezes, 99).toFixed(0)} ms`,
    );
    value(await ssi.kill(pid, 9));
    attachment.close();
    await reading;
    await ssi.wait(pid);
  });
});
