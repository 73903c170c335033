// Runs inside one node of the adapter tests, as child of nothing but the test: the Linux adapters wired
// together, obeying one line of JSON at a time on standard input, answering one on standard output.
// `move` is the happy path of the protocol and nothing more; what may fail is the service's own test.
import { readFileSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { deserialize, serialize } from 'node:v8';
import { systemClock } from '@ssi/linux';
import { noLog } from '@ssi/ports';
import { linuxHolders } from '../../src/adapters/holders.linux.ts';
import { linuxMachine } from '../../src/adapters/machine.linux.ts';
import type { DumpResult } from '../../src/ports.ts';

const [nodeDir = '', cgroup = '', tools = '', listenPath = ''] = process.argv.slice(2);
const clock = systemClock();
const { guard, processes, spawner, streams, images, criu, preflight, stub } = linuxMachine({
  ...{ nodeDir, toolsDir: tools, cgroup, clock, log: noLog },
});
const holders = linuxHolders({ cgroupProcs: `${cgroup}/cgroup.procs`, streams });

// biome-ignore lint/suspicious/noExplicitAny: a test's own wire
type Any = any;
const need = <T>(
  reply: { ok: true; value: T } | { ok: false; errno: string; detail: string },
): T => {
  if (!reply.ok) throw new Error(`${reply.errno} ${reply.detail}`);
  return reply.value;
};

/** Frames: length, then a v8 value. */
function frames(socket: Socket, onFrame: (value: Any) => Promise<void>): void {
  let rest = Buffer.alloc(0);
  let busy = Promise.resolve();
  socket.on('data', (bytes: Buffer) => {
    rest = Buffer.concat([rest, bytes]);
    while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32LE(0)) {
      const length = rest.readUInt32LE(0);
      const value = deserialize(rest.subarray(4, 4 + length));
      rest = rest.subarray(4 + length);
      busy = busy.then(() => onFrame(value));
    }
  });
}
function sendFrame(socket: Socket, value: Any): Promise<void> {
  const body = serialize(value);
  const head = Buffer.alloc(4);
  head.writeUInt32LE(body.length);
  return new Promise((done) => socket.write(Buffer.concat([head, body]), () => done()));
}

const tasksOf = new Map<string, Any>();
rmSync(listenPath, { force: true }); // of a predecessor that was killed
createServer((socket) => {
  frames(socket, async (message) => {
    try {
      await sendFrame(socket, { ok: true, value: await target(message) });
    } catch (error) {
      await sendFrame(socket, { ok: false, errno: 'EIO', detail: (error as Error).message });
    }
  });
}).listen(listenPath);

async function target(m: Any): Promise<Any> {
  if (m.op === 'begin') {
    need(await images.create(m.moveId));
    if (m.states)
      need(await streams.install({ owner: m.pid, states: m.states, tty: m.tty, uid: 0, gid: 0 }));
    for (const n of m.numbers) await guard.release(n);
  } else if (m.op === 'image') need(await images.write(m.moveId, m.chunk));
  else if (m.op === 'fill') need(await streams.fill(m.pid, m.name, m.offset, m.data));
  else if (m.op === 'restore') {
    const tty = streams.tty(m.pid);
    const restored = need(
      await criu.restore({
        moveId: m.moveId,
        root: m.pid,
        shellJob: m.shellJob,
        ...(tty ? { tty } : {}),
      }),
    );
    if (m.states) need(await streams.settle(m.pid, m.states));
    tasksOf.set(m.moveId, restored.tasks);
    return restored;
  } else if (m.op === 'commit') {
    if (m.streams) need(await streams.resume(m.pid));
    need(await criu.resume(tasksOf.get(m.moveId), m.stoppedBefore));
    need(await images.remove(m.moveId));
    return clock.nowMs();
  }
  return undefined;
}

async function move(
  pid: number,
  to: string,
  moveId: string,
  hold: readonly number[],
): Promise<Any> {
  const socket = connect(to);
  const waiting: ((reply: Any) => void)[] = [];
  frames(socket, async (reply) => waiting.shift()?.(reply));
  const ask = async (message: Any): Promise<Any> => {
    const reply = new Promise<Any>((done) => waiting.push(done));
    await sendFrame(socket, { moveId, pid, ...message });
    return need(await reply);
  };
  const size = streams.ttySize(pid);
  const states = need(await streams.state(pid));
  const binding = streams.tty(pid);
  await ask({
    op: 'begin',
    states,
    tty: size && { ...size, external: binding?.external },
    numbers: hold,
  });
  const sendLogs = async (after: Map<string, number>, now: readonly Any[]): Promise<void> => {
    for (const state of now)
      for (let at = after.get(state.name) ?? state.startOffset; at < state.endOffset; ) {
        const { offset, data } = need(await streams.read(pid, state.name, at, 2 ** 18));
        if (data.length === 0) break;
        await ask({ op: 'fill', name: state.name, offset, data: Buffer.from(data) });
        at = offset + data.length;
        after.set(state.name, at);
      }
  };
  const sent = new Map<string, number>();
  await sendLogs(sent, states);
  need(await images.create(moveId));
  const t0 = clock.nowMs();
  need(await streams.pauseInput(pid));
  const dump = criu.dump({
    moveId,
    root: pid,
    shellJob: false,
    ...(binding ? { tty: binding } : {}),
  });
  let bytes = 0;
  for await (const chunk of dump.chunks) {
    bytes += chunk.data.length;
    await ask({ op: 'image', chunk: { ...chunk, data: Buffer.from(chunk.data) } });
  }
  const t1 = clock.nowMs();
  const done = await dump.done;
  if (!done.ok) need(await streams.resume(pid));
  const dumped: DumpResult = need(done);
  const final = need(await streams.pause(pid));
  await sendLogs(sent, final);
  const t2 = clock.nowMs();
  const restored = await ask({ op: 'restore', shellJob: false, states: final }).catch(
    async (error) => {
      need(await streams.resume(pid));
      need(await criu.resume(dumped.tasks, dumped.stoppedBefore));
      throw error;
    },
  );
  const t3 = clock.nowMs();
  need(await criu.destroy(dumped.tasks));
  const t4 = clock.nowMs();
  await streams.remove(pid);
  const resumedAt = await ask({ op: 'commit', streams: true, stoppedBefore: dumped.stoppedBefore });
  need(await images.remove(moveId));
  socket.destroy();
  return {
    bytes,
    freezeMs: resumedAt - dumped.freezeAtMs,
    steps: [
      dumped.freezeAtMs - t0,
      dumped.frozenMs,
      t1 - t0,
      t2 - t1,
      t3 - t2,
      t4 - t3,
      resumedAt - t4,
    ],
    restoreMs: restored.restoreMs,
    tasks: restored.tasks.map((task: Any) => task.pid),
    stoppedBefore: dumped.stoppedBefore,
  };
}

const ops: Record<string, (m: Any) => Promise<Any>> = {
  run: async ({ argv, tty, env }) => {
    const pid = need(await guard.holdAny());
    const paths = need(
      await streams.create({ owner: pid, uid: 0, gid: 0, ...(tty ? { tty } : {}) }),
    );
    need(await guard.release(pid));
    return need(
      await spawner.run({
        ...{ pid, argv, cwd: '/', uid: 0, gid: 0, streams: paths },
        env: { PATH: process.env.PATH ?? '', ...env },
      }),
    );
  },
  move: async ({ pid, to, moveId, hold }) => move(pid, to, moveId, hold ?? []),
  scan: async () => need(await processes.scan()),
  ownerOf: ({ pid }) => holders.ownerOf(pid),
  timeScan: async () => {
    const t = clock.nowMs();
    const found = need(await processes.scan());
    const scannedMs = clock.nowMs();
    for (const { pid } of found) readFileSync(`/proc/${pid}/stat`, 'latin1');
    return { n: found.length, ms: scannedMs - t, readMs: clock.nowMs() - scannedMs };
  },
  append: async ({ pid, offset, text }) =>
    need(await streams.append(pid, offset, Buffer.from(text))),
  endInput: async ({ pid }) => need(await streams.endInput(pid)),
  state: async ({ pid }) => need(await streams.state(pid)),
  read: async ({ pid, name, offset, max }) => {
    const reply = need(await streams.read(pid, name, offset, max));
    return { offset: reply.offset, text: Buffer.from(reply.data).toString(), eof: reply.eof };
  },
  signal: async ({ pid, signal }) => need(await processes.signal({ pid }, signal, 0)),
  exits: async () =>
    new Promise((done) => {
      const follow = processes.followExits(undefined, (exits) => {
        follow.stop();
        done(exits);
      });
    }),
  hold: async ({ pid }) => need(await guard.hold(pid)),
  pause: async ({ pid }) => need(await streams.pause(pid)),
  held: async () => need(await guard.held()),
  cleanUp: async () => need(await criu.cleanUp()),
  kill: async () => need(await guard.killPrograms()),
  status: async () => need(await guard.status()),
  inspect: async ({ pids, owner }) => {
    const paths = streams.paths(owner);
    return need(
      await preflight.inspect({ pids, digests: true, ...(paths ? { streams: paths } : {}) }),
    );
  },
  adopt: async ({ paused }) => need(await streams.adopt(paused ?? [])),
  dumpAndStay: async ({ pid, moveId }) => {
    need(await images.create(moveId));
    const dump = criu.dump({ moveId, root: pid, shellJob: true });
    for await (const _ of dump.chunks);
    return need(await dump.done);
  },
  resume: async ({ tasks, stoppedBefore }) => need(await criu.resume(tasks, stoppedBefore)),
  replace: async ({ ref }) => need(await stub.replace(ref)),
  end: async ({ ref, status }) => need(await stub.end(ref, status)),
  resize: async ({ pid, rows, cols }) => need(await streams.resize(pid, { rows, cols })),
  checkFiles: async ({ files }) => preflight.checkFiles(files),
  checkNumbers: async ({ numbers, held }) => preflight.checkNumbers(numbers, held),
};

for await (const line of createInterface(process.stdin)) {
  const message = JSON.parse(line);
  const handler = ops[message.op];
  void (async () => {
    try {
      const value = await handler?.(message);
      process.stdout.write(`${JSON.stringify({ id: message.id, ok: true, value })}\n`);
    } catch (error) {
      const detail = (error as Error).message;
      process.stdout.write(
        `${JSON.stringify({ id: message.id, ok: false, errno: 'EIO', detail })}\n`,
      );
    }
  })();
}
process.exit(0);
