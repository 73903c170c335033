// A warm second process: of the membership processes of a node one is active, which is whoever holds
// an abstract socket; the others are loaded, connected to the bus, and wait on it. When the active one is
// killed its socket closes within a millisecond and a waiting one goes on in the same life, long before the
// node's lease runs out: starting a process first would take as long as the lease. [unix(7): abstract sockets]
import { spawn } from 'node:child_process';
import { connect, createServer, type Server } from 'node:net';
import { setPriority } from 'node:os';
import type { Clock, Log } from '@ssi/ports';

/** The supervisor's own restart comes first; only then one is started here. */
const spawnAfterMs = 2_000;
const retryMs = 20;

export interface Turn {
  /** Keeps one process waiting from now on. */
  keepStandby(): void;
  /** The waiting ones end, and nobody takes over. */
  end(): void;
  /** Resolves when one waits to go on, or after `maxMs`. */
  heir(maxMs: number): Promise<void>;
  /** One of those that wait goes on. */
  pass(): void;
}

/** Resolves when it is this process's turn. `onEnd`: the active one was told to stop for good. */
export async function takeTurn(q: {
  name: string;
  script: string;
  clock: Clock;
  log: Log;
  onEnd: () => void;
  /** While it is this process's turn another one waits. */
  onWaiting?: () => void;
}): Promise<Turn> {
  const path = `\0${q.name}`;
  for (;;) {
    const server = await listen(path);
    if (server) return turn(server, q);
    const why = await wait(path);
    if (why === 'end') q.onEnd();
    if (why === 'refused') await new Promise<void>((done) => q.clock.after(retryMs, done));
  }
}

function listen(path: string): Promise<Server | undefined> {
  return new Promise((done, failed) => {
    const server = createServer();
    server.on('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? done(undefined) : failed(error),
    );
    server.listen(path, () => done(server));
  });
}

function wait(path: string): Promise<'gone' | 'refused' | 'end'> {
  return new Promise((done) => {
    let why: 'gone' | 'refused' | 'end' = 'refused';
    const socket = connect(path);
    socket.setEncoding('utf8');
    socket.on('connect', () => {
      why = 'gone';
    });
    socket.on('data', (text: string) => {
      if (text.includes('end')) why = 'end';
    });
    socket.on('error', () => {});
    socket.on('close', () => done(why));
  });
}

function turn(
  server: Server,
  q: { script: string; clock: Clock; log: Log; onWaiting?: () => void },
): Turn {
  const waiting = new Set<import('node:net').Socket>();
  const heard: (() => void)[] = [];
  let over = false;
  /** One that was started here and lives: it may take long to load where the machine is busy. */
  let started = false;
  server.on('connection', (socket) => {
    waiting.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => waiting.delete(socket));
    socket.resume();
    q.onWaiting?.();
    for (const told of heard.splice(0)) told();
  });
  const look = (): void => {
    if (over) return;
    if (waiting.size === 0 && !started) {
      const child = spawn(process.execPath, [...process.execArgv, q.script], {
        stdio: 'inherit',
        detached: true,
      });
      started = true;
      // Its loading is not ahead of anybody; it goes first when it waits (main.ts).
      try {
        if (child.pid !== undefined) setPriority(child.pid, 0);
      } catch {
        // It ended at once.
      }
      const ended = (): void => {
        started = false;
      };
      child.on('exit', ended);
      child.on('error', (error) => {
        ended();
        q.log.warn('no standby', { error: error.message });
      });
      child.unref();
    }
    q.clock.after(spawnAfterMs, look);
  };
  return {
    keepStandby: () => void q.clock.after(spawnAfterMs, look),
    end() {
      over = true;
      for (const socket of waiting) socket.end('end\n');
      server.close();
    },
    heir: (maxMs) =>
      new Promise((done) => {
        if (waiting.size > 0) return done();
        heard.push(done);
        q.clock.after(maxMs, done);
      }),
    pass() {
      over = true;
      server.close();
      for (const socket of waiting) socket.destroy();
    },
  };
}
