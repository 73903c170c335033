// The Linux adapters on real nodes: programs moved back and forth by criu, with every line accounted for.

import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { crc32 } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeFolder, removeFolder, TestNode, whyNoNodes } from './native/node.ts';

const reason = whyNoNodes();
const busy = fileURLToPath(new URL('./native/programs/busy.py', import.meta.url));
const moves = 10;

async function until<T>(
  what: string,
  look: () => Promise<T | undefined>,
  withinMs = 15_000,
): Promise<T> {
  for (const end = performance.now() + withinMs; ; ) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > end) throw new Error(`not within ${withinMs} ms: ${what}`);
    await new Promise((done) => setTimeout(done, 10));
  }
}

const moveId = (n: number): string => n.toString(16).padStart(32, '0');

async function output(node: TestNode, pid: number, name: string): Promise<string> {
  let text = '';
  for (let offset = 0; ; ) {
    const piece = await node.ask('read', { pid, name, offset, max: 2 ** 20 });
    if (piece.text === '') return text;
    expect(piece.offset).toBe(offset);
    text += piece.text;
    offset += Buffer.byteLength(piece.text);
  }
}

/** Host pids of what starts the programs of a node, whose guard has this pid. */
const serversOf = (guard: number): number[] =>
  readdirSync('/proc')
    .map(Number)
    .filter((pid) => {
      try {
        const isServer = readFileSync(`/proc/${pid}/cmdline`, 'latin1').endsWith('--serve\0');
        return (
          isServer && readlinkSync(`/proc/${pid}/ns/pid`) === readlinkSync(`/proc/${guard}/ns/pid`)
        );
      } catch {
        return false; // no process, or it ended
      }
    });

async function endOf(node: TestNode, pid: number, name: string): Promise<number> {
  const states = await node.ask('state', { pid });
  return states.find((state: { name: string }) => state.name === name).endOffset;
}

describe.skipIf(reason)(`adapters on two nodes${reason ? ` (${reason})` : ''}`, () => {
  let dir: string;
  let nodes: [TestNode, TestNode];

  beforeAll(async () => {
    dir = makeFolder();
    nodes = [await TestNode.start(dir, 1), await TestNode.start(dir, 2)];
  });
  afterAll(async () => {
    for (const node of nodes) await node.stop();
    removeFolder(dir);
  });

  test('a program that has ended before anybody looks has the start that its exit line tells', async () => {
    const [node] = nodes;
    const started: { pid: number; startTicks: number }[] = [];
    for (let n = 0; n < 30; n++) started.push(await node.ask('run', { argv: ['true'] }));
    await until('all exit lines', async () => {
      const exits: { pid: number; startTicks: number }[] = await node.ask('exits');
      const told = started.map(({ pid }) => exits.find((e) => e.pid === pid));
      if (told.includes(undefined)) return undefined;
      expect(told.map((e) => e?.startTicks)).toEqual(started.map((ref) => ref.startTicks));
      return true;
    });
  });

  test('ssi-spawn serves many at a time, each with its own answer; killed, another one serves', async () => {
    const [node] = nodes;
    const strange = ['sh', '-c', 'printf "%s|" "$0" "$@" "$WORD"', '', 'two words', 'a\nb'];
    const runs = Array.from({ length: 20 }, (_, n) =>
      n % 4 === 3
        ? node.ask('run', { argv: [`missing\n${n}`] }).catch((error: Error) => error.message)
        : node.ask('run', { argv: strange, env: { WORD: `w${n}` } }),
    );
    for (const [n, ran] of (await Promise.all(runs)).entries()) {
      if (n % 4 === 3) expect(ran).toMatch(new RegExp(`^ENOENT missing ${n}:`));
      else
        await until('its own words', async () =>
          (await output(node, ran.pid, 'out')) === `|two words|a\nb|w${n}|` ? true : undefined,
        );
    }
    await expect(node.ask('run', { argv: ['true\0--uid'] })).rejects.toThrow(/EINVAL/);
    const [server] = serversOf(node.pid);
    process.kill(server ?? 0, 'SIGKILL');
    await until('another one', async () => {
      const started = await node.ask('run', { argv: ['true'] }).catch(() => undefined);
      return started && serversOf(node.pid).some((pid) => pid !== server) ? true : undefined;
    });
  });

  /** Moves a program back and forth while `look` says that it goes on. */
  async function moveAround(
    pid: number,
    firstId: number,
  ): Promise<{ at: TestNode; freezes: number[] }> {
    const freezes: number[] = [];
    let [at, other] = nodes;
    for (let n = 0; n < moves; n++) {
      const before = await endOf(at, pid, 'out');
      await until('output before the move', async () =>
        (await endOf(at, pid, 'out')) > before ? true : undefined,
      );
      const moved = await at.ask('move', { pid, to: other.socket, moveId: moveId(firstId + n) });
      freezes.push(moved.freezeMs);
      expect(moved.tasks[0]).toBe(pid);
      [at, other] = [other, at];
    }
    return { at, freezes };
  }

  test('a bash counter moves ten times: same pid, no line lost or doubled', async () => {
    const script = 'i=0; while ((i < 100000)); do echo $i; ((++i % 50)) || sleep 0.005; done';
    const { pid } = await nodes[0].ask('run', { argv: ['bash', '-c', script] });
    expect(pid >> 16).toBe(1);
    const { at, freezes } = await moveAround(pid, 1);
    const lines = (await output(at, pid, 'out')).trimEnd().split('\n');
    expect(lines).toEqual(lines.map((_, i) => String(i)));
    expect((await at.ask('scan')).map((task: { pid: number }) => task.pid)).toContain(pid);
    await at.ask('signal', { pid, signal: 9 });
    console.log(`bash: ${freezes.map((ms) => ms.toFixed(0)).join(' ')} ms frozen`);
  }, 60_000);

  test('a daemon whose parents are gone: its descriptors say whose streams it holds', async () => {
    const script = '(setsid sh -c "sleep 300; :" & exit) & wait; exit';
    const { pid } = await nodes[0].ask('run', { argv: ['bash', '-c', script] });
    const orphan = await until('the daemon alone', async () => {
      const tasks: { pid: number; sid: number }[] = await nodes[0].ask('scan');
      const own = tasks.find((t) => t.sid === t.pid && t.pid !== pid);
      return own && !tasks.some((t) => t.pid === pid) ? own : undefined;
    });
    expect(await nodes[0].ask('ownerOf', { pid: orphan.pid })).toBe(pid);
    await nodes[0].ask('signal', { pid: orphan.pid, signal: 9 });
  });

  test('python with threads and a child, fed while it moves: every byte both ways, exit 7', async () => {
    const { pid } = await nodes[0].ask('run', { argv: ['/usr/bin/python3', '-u', busy, '2000'] });
    let feeding = true;
    let fed = 0;
    let sent = 0;
    let at: TestNode = nodes[0];
    const feed = async (): Promise<void> => {
      while (feeding) {
        let text = '';
        for (let n = 0; n < 100; n++, sent++) text += `${sent} ${crc32(String(sent))}\n`;
        // Repeated at the same offset until some node has it: a client that was cut off does the same.
        for (let done = false; !done; ) {
          const reply = await at
            .ask('append', { pid, offset: fed, text })
            .catch((error: Error) => error.message);
          if (typeof reply === 'number') done = true;
          else {
            if (!/ENOENT|EAGAIN/.test(String(reply))) throw new Error(String(reply));
            at = at === nodes[0] ? nodes[1] : nodes[0];
            await new Promise((rest) => setTimeout(rest, 5));
          }
        }
        fed += text.length;
        await new Promise((rest) => setTimeout(rest, 20));
      }
    };
    const feeder = feed();
    const { at: last, freezes } = await moveAround(pid, 100);
    feeding = false;
    await feeder;
    await last.ask('endInput', { pid });
    await until('both streams at their end', async () => {
      const states = await last.ask('state', { pid });
      return states.slice(1).every((state: { eof: boolean }) => state.eof) ? true : undefined;
    });
    const errors = (await output(last, pid, 'err')).trimEnd().split('\n');
    expect(errors.filter((line) => line.startsWith('BAD'))).toEqual([]);
    expect(errors).toContain(`input ended at ${sent}`);
    const child = errors.filter((line) => line.startsWith('child '));
    expect(child).toEqual(child.map((_, i) => `child ${i}`));
    const lines = (await output(last, pid, 'out')).trimEnd().split('\n');
    const numbers = lines.slice(0, -1);
    expect(numbers).toEqual(numbers.map((_, i) => String(i)));
    expect(lines.at(-1)).toBe(`end ${numbers.length}`);
    const exit = await until('its exit', async () =>
      (await last.ask('exits')).findLast((record: { pid: number }) => record.pid === pid),
    );
    expect(exit.status).toMatchObject({ pid, code: 7, signal: null });
    console.log(
      `python: ${freezes.map((ms) => ms.toFixed(0)).join(' ')} ms frozen, ${sent} lines in`,
    );
  }, 90_000);

  test('vproc killed under load and begun again: nothing lost or doubled either way', async () => {
    const { pid } = await nodes[0].ask('run', { argv: ['/usr/bin/python3', '-u', busy, '4000'] });
    let fed = 0;
    let sent = 0;
    for (let round = 0; round < 5; round++) {
      for (let batch = 0; batch < 20; batch++) {
        let text = '';
        for (let n = 0; n < 200; n++, sent++) text += `${sent} ${crc32(String(sent))}\n`;
        await nodes[0].ask('append', { pid, offset: fed, text });
        fed += text.length;
      }
      await nodes[0].restartDriver();
      expect(await nodes[0].ask('adopt')).toContain(pid);
    }
    await nodes[0].ask('endInput', { pid });
    await until('both streams at their end', async () => {
      const states = await nodes[0].ask('state', { pid });
      return states.slice(1).every((state: { eof: boolean }) => state.eof) ? true : undefined;
    });
    const errors = (await output(nodes[0], pid, 'err')).trimEnd().split('\n');
    expect(errors.filter((line) => line.startsWith('BAD'))).toEqual([]);
    expect(errors).toContain(`input ended at ${sent}`);
    const lines = (await output(nodes[0], pid, 'out')).trimEnd().split('\n');
    const numbers = lines.slice(0, -1);
    expect(numbers).toEqual(numbers.map((_, i) => String(i)));
  }, 60_000);

  test('a terminal moves: the shell goes on, sees its size, and ends by ^D', async () => {
    const { pid } = await nodes[0].ask('run', {
      argv: ['bash', '--norc', '--noprofile', '-i'],
      tty: { rows: 30, cols: 100 },
      env: { PS1: '$ ', TERM: 'dumb' },
    });
    let typed = 0;
    const type = async (node: TestNode, text: string): Promise<void> => {
      typed = await node.ask('append', { pid, offset: typed, text });
    };
    const shows = (node: TestNode, text: string): Promise<true> =>
      until(`the terminal shows ${text}`, async () =>
        (await output(node, pid, 'tty')).includes(text) ? true : undefined,
      );
    await type(nodes[0], 'x=kept; echo first-$((40+2)); stty size\n');
    await shows(nodes[0], 'first-42');
    await shows(nodes[0], '30 100');
    const [a, b] = nodes;
    for (const [n, from, to] of [
      [0, a, b],
      [1, b, a],
      [2, a, b],
    ] as const) {
      await from.ask('move', { pid, to: to.socket, moveId: moveId(300 + n) });
      await type(to, `echo $x-${n}; tty; stty size\n`);
      await shows(to, `kept-${n}`);
    }
    const [, last] = nodes;
    await last.ask('resize', { pid, rows: 50, cols: 132 });
    await type(last, 'stty size; echo end-$?\n');
    await shows(last, '50 132');
    await type(last, 'sleep 100\n');
    await until('the job', async () =>
      (await last.ask('scan')).some((each: { command: string }) => each.command === 'sleep 100')
        ? true
        : undefined,
    );
    await type(last, '\u0003');
    await type(last, 'echo back-$?\n');
    await shows(last, 'back-130');
    await last.ask('endInput', { pid });
    // The copy that went away by a move was killed here: that end is told too.
    const exit = await until('its exit', async () =>
      (await last.ask('exits')).findLast(
        (record: { pid: number; status: { signal: string | null } }) =>
          record.pid === pid && record.status.signal !== 'SIGKILL',
      ),
    );
    expect(exit.status).toMatchObject({ signal: null });
  }, 60_000);

  test('a child that was stopped stays stopped, the rest goes on', async () => {
    const script = 'sleep 1000 & kill -STOP $!; i=0; while :; do echo $((i++)); sleep 0.01; done';
    const { pid } = await nodes[0].ask('run', { argv: ['bash', '-c', script] });
    await until('output', async () =>
      (await endOf(nodes[0], pid, 'out')) > 20 ? true : undefined,
    );
    const moved = await nodes[0].ask('move', { pid, to: nodes[1].socket, moveId: moveId(400) });
    expect(moved.stoppedBefore).toHaveLength(1);
    const before = await endOf(nodes[1], pid, 'out');
    await until('output', async () =>
      (await endOf(nodes[1], pid, 'out')) > before + 20 ? true : undefined,
    );
    const states = new Map<number, string>(
      (await nodes[1].ask('scan')).map((each: { pid: number; state: string }) => [
        each.pid,
        each.state,
      ]),
    );
    expect(states.get(moved.stoppedBefore[0])).toBe('stopped');
    expect(states.get(pid)).not.toBe('stopped');
    await nodes[1].ask('signal', { pid: moved.stoppedBefore[0], signal: 9 });
    await nodes[1].ask('signal', { pid, signal: 9 });
  }, 30_000);

  test('a periodic timerfd that had expired unread ticks on after the move', async () => {
    const program = [
      'import os,ctypes,struct,time,sys',
      'c=ctypes.CDLL(None)',
      'fd=c.timerfd_create(1,0)',
      'spec=ctypes.create_string_buffer(struct.pack("qqqq",0,20_000_000,0,20_000_000))',
      'assert c.timerfd_settime(fd,0,spec,None)==0',
      'os.write(1,b"start\\n"); time.sleep(1)',
      'while True: os.read(fd,8); os.write(1,b"tick\\n")',
    ].join('\n');
    const { pid } = await nodes[0].ask('run', { argv: ['/usr/bin/python3', '-c', program] });
    await until('its start', async () =>
      (await endOf(nodes[0], pid, 'out')) > 0 ? true : undefined,
    );
    await new Promise((done) => setTimeout(done, 100)); // expired by now, and not read: it sleeps a second
    await nodes[0].ask('move', { pid, to: nodes[1].socket, moveId: moveId(500) });
    await until('ticks', async () => ((await endOf(nodes[1], pid, 'out')) > 30 ? true : undefined));
    await nodes[1].ask('signal', { pid, signal: 9 });
  }, 30_000);

  test.each([
    ['code 42', { code: 42, signal: null }, '42'],
    ['SIGSEGV', { code: null, signal: 'SIGSEGV' }, '139'],
  ])(
    "a stub ends as its process did: the parent's wait returns %s",
    async (_, status, shown) => {
      const script = 'sleep 1000 & echo $!; wait $!; echo "waited $?"; sleep 1000';
      const { pid } = await nodes[0].ask('run', { argv: ['bash', '-c', script] });
      const child = await until('the child', async () => {
        const text = await output(nodes[0], pid, 'out');
        return text.endsWith('\n') ? Number(text) : undefined;
      });
      const dumped = await nodes[0].ask('dumpAndStay', { pid: child, moveId: moveId(600) });
      const ref = await nodes[0].ask('replace', { ref: dumped.tasks[0] });
      const [stub] = (await nodes[0].ask('scan')).filter(
        (each: { pid: number }) => each.pid === child,
      );
      expect(stub).toMatchObject({ ppid: pid, command: expect.stringContaining('--stand') });
      await nodes[0].ask('end', { ref, status: { pid: child, ...status } });
      await until('the wait', async () =>
        (await output(nodes[0], pid, 'out')).includes(`waited ${shown}\n`) ? true : undefined,
      );
      await nodes[0].ask('signal', { pid, signal: 9 });
    },
    30_000,
  );

  test('a dump that criu refuses leaves the program running', async () => {
    const program = [
      'import socket,os,time',
      'l=socket.create_server(("127.0.0.1",0)); c=socket.create_connection(l.getsockname()); s=l.accept()',
      'n=0',
      'while True: os.write(1,b"%d\\n" % n); n+=1; time.sleep(0.005)',
    ].join('\n');
    const { pid } = await nodes[0].ask('run', { argv: ['/usr/bin/python3', '-c', program] });
    await until('output', async () => ((await endOf(nodes[0], pid, 'out')) > 0 ? true : undefined));
    await expect(
      nodes[0].ask('move', { pid, to: nodes[1].socket, moveId: moveId(700) }),
    ).rejects.toThrow(/^EIO .*Error/);
    const before = await endOf(nodes[0], pid, 'out');
    await until('more', async () =>
      (await endOf(nodes[0], pid, 'out')) > before ? true : undefined,
    );
    await nodes[0].ask('signal', { pid, signal: 9 });
  }, 30_000);

  test('a restore whose number is taken harms nobody, and the source runs on', async () => {
    const script = 'i=0; while :; do echo $((i++)); sleep 0.005; done';
    const { pid } = await nodes[0].ask('run', { argv: ['bash', '-c', script] });
    await until('output', async () => ((await endOf(nodes[0], pid, 'out')) > 0 ? true : undefined));
    await nodes[1].ask('hold', { pid });
    await expect(
      nodes[0].ask('move', { pid, to: nodes[1].socket, moveId: moveId(701) }),
    ).rejects.toThrow(/^EIO ECANCELED/);
    expect(await nodes[1].ask('held')).toContain(pid);
    const theirs = (await nodes[1].ask('scan')).map((each: { pid: number }) => each.pid);
    expect(theirs).not.toContain(pid);
    const before = await endOf(nodes[0], pid, 'out');
    await until('more', async () =>
      (await endOf(nodes[0], pid, 'out')) > before ? true : undefined,
    );
    const lines = (await output(nodes[0], pid, 'out')).trimEnd().split('\n');
    expect(lines).toEqual(lines.map((_, i) => String(i)));
    // And with the number released it goes.
    await nodes[0].ask('move', { pid, to: nodes[1].socket, moveId: moveId(702), hold: [pid] });
    await nodes[1].ask('cleanUp');
    await nodes[1].ask('signal', { pid, signal: 9 });
  }, 30_000);

  test('a scan of a thousand processes is cheap', async () => {
    const script =
      'i=0; while [ $i -lt 1000 ]; do sleep 1000 & i=$((i + 1)); done; echo ready; wait';
    const { pid } = await nodes[0].ask('run', { argv: ['sh', '-c', script] });
    await until(
      'all of them',
      async () => ((await endOf(nodes[0], pid, 'out')) > 0 ? true : undefined),
      45_000,
    );
    const ratios: number[] = [];
    for (let n = 0; n < 10; n++) {
      const scan = await nodes[0].ask('timeScan');
      expect(scan.n).toBeGreaterThan(1000);
      ratios.push(scan.ms / scan.readMs);
    }
    console.log(`scan / reading each stat: ${ratios.map((r) => r.toFixed(2)).join(' ')}`);
    // Beside the reading of the same files in the same moment: what else runs here stretches both.
    expect(Math.min(...ratios)).toBeLessThan(2.5);
    await nodes[0].ask('kill');
    expect(await nodes[0].ask('scan')).toEqual([]);
  }, 60_000);
});
