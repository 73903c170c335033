// A warm second process: of the membership processes of a node one is active, which is whoever holds
// an abstract socket; the others are loaded, connected to the bus, and wait on it. When the active one is
// killed its socket closes within a millisecond and a waiting one goes on in the same life, long before the
// node's lease runs out: starting a process first would take as long as the lease. Whoever supervises starts
// both: fork(2) by the active one would stop its heartbeats for up to a second. [unix(7): abstract sockets]
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Clock } from '@ssi/ports';

const retryMs = 20;

export interface Turn {
  /** The waiting ones end, and nobody takes over. */
  end(): void;
  /** Resolves when one waits to go on, or after `maxMs` where that is given. */
  heir(maxMs?: number): Promise<void>;
  /** One of those that wait goes on. */
  pass(): void;
}

/** Resolves when it is this process's turn. `onEnd`: the active one was told to stop for good. */
export async function takeTurn(q: {
  name: string;
  clock: Clock;
  onEnd: () => void;
}): Promise<Turn> {
  const path = `\0${q.name}`;
  for (;;) {
    const server = await listen(path);
    if (server) return turn(server, q.clock);
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

function turn(server: Server, clock: Clock): Turn {
  const waiting = new Set<Socket>();
  const heard: (() => void)[] = [];
  server.on('connection', (socket) => {
    waiting.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => waiting.delete(socket));
    socket.resume();
    for (const told of heard.splice(0)) told();
  });
  return {
    end() {
      for (const socket of waiting) socket.end('end\n');
      server.close();
    },
    heir: (maxMs) =>
      new Promise((done) => {
        if (waiting.size > 0) return done();
        heard.push(done);
        if (maxMs !== undefined) clock.after(maxMs, done);
      }),
    pass() {
      server.close();
      for (const socket of waiting) socket.destroy();
    },
  };
}
