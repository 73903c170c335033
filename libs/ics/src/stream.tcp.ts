// Out-of-line streams over TCP: how a connection is opened with a token. What runs on it then is
// stream.ts. The greeting is `SSIS` and the token; the answer is one byte, 1: open, 0: not valid here.
import { createServer, type Server, type Socket } from 'node:net';
import { fail, ok, type Reply } from '@ssi/contracts';
import type { Clock, StreamAddress, StreamListener, Streams } from '@ssi/ports';
import { dial, type Encryption, leavesMachine, welcome } from './encryption.ts';
import { bareConnection } from './stream.bare.ts';
import { SocketStream } from './stream.ts';

const magic = 'SSIS';
const greetingBytes = magic.length + 32;
const tokenPattern = /^[0-9a-f]{32}$/;
/** A connection that says nothing for this long is closed. */
const greetMs = 5_000;

interface Accepting {
  /** Takes the connection; returns how to drop it when a newer one comes. */
  readonly onOpen: (socket: Socket, rest: Uint8Array) => () => void;
  drop: () => void;
}

/** Hands over the first `size` bytes, then everything after them to whoever takes the socket. */
function take(socket: Socket, size: number, then: (head: Buffer, rest: Buffer) => void): void {
  let got: Buffer = Buffer.alloc(0);
  const onData = (chunk: Buffer): void => {
    got = got.length === 0 ? chunk : Buffer.concat([got, chunk]);
    if (got.length < size) return;
    socket.off('data', onData);
    socket.pause();
    then(got.subarray(0, size), got.subarray(size));
  };
  socket.on('data', onData);
}

function listener(
  server: Server,
  clock: Clock,
  encryption: Encryption | undefined,
): StreamListener {
  const tokens = new Map<string, Accepting>();
  const sockets = new Set<Socket>();
  welcome(server, encryption, (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    const timer = clock.after(greetMs, () => socket.destroy());
    take(socket, greetingBytes, (head, rest) => {
      timer.cancel();
      const text = head.toString('latin1');
      const accepting = text.startsWith(magic) ? tokens.get(text.slice(magic.length)) : undefined;
      if (!accepting) {
        socket.end(Buffer.from([0]));
        return;
      }
      accepting.drop();
      socket.write(Buffer.from([1]));
      accepting.drop = accepting.onOpen(socket, rest);
    });
  });
  const accept = (token: string, onOpen: Accepting['onOpen']) => {
    if (!tokenPattern.test(token)) throw new Error('a token is 32 hex digits');
    const accepting: Accepting = { onOpen, drop: () => {} };
    tokens.set(token, accepting);
    return {
      revoke: () => {
        if (tokens.get(token) === accepting) tokens.delete(token);
      },
    };
  };
  const at = server.address();
  return {
    port: typeof at === 'object' && at ? at.port : 0,
    accept: (token, onStream) =>
      accept(token, (socket, rest) => {
        const stream = new SocketStream(socket, rest);
        onStream(stream);
        return () => stream.destroy();
      }),
    acceptBare: (token, onConnection) =>
      accept(token, (socket, rest) => {
        const connection = bareConnection(socket, rest);
        onConnection(connection);
        return () => connection.close();
      }),
    close: () =>
      new Promise((done) => {
        server.close(() => done());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

type ConnectErrno = 'EHOSTUNREACH' | 'ETIMEDOUT' | 'EACCES';

function open<T>(
  clock: Clock,
  at: { readonly node: number; readonly host: string; readonly port: number },
  token: string,
  timeoutMs: number,
  taken: (socket: Socket, rest: Uint8Array) => T,
  encryption: Encryption | undefined,
): Promise<Reply<T, ConnectErrno>> {
  return new Promise((resolve) => {
    const to = { ...at, allowHalfOpen: true, noDelay: true };
    const socket = dial(to, encryption, () => socket.write(magic + token, 'latin1'));
    const where = `${at.host}:${at.port}`;
    const end = (reply: Reply<T, ConnectErrno>): void => {
      timer.cancel();
      socket.off('close', onClose);
      if (!reply.ok) socket.destroy();
      resolve(reply);
    };
    const onClose = (): void => end(fail('EHOSTUNREACH', `${where} closed the connection`));
    const timer = clock.after(timeoutMs, () => end(fail('ETIMEDOUT', `no answer from ${where}`)));
    socket.on('error', (error) => end(fail('EHOSTUNREACH', `${where}: ${error.message}`)));
    socket.on('close', onClose);
    take(socket, 1, (head, rest) => {
      if (head[0] === 1) end(ok(taken(socket, rest)));
      else end(fail('EACCES', `${where} does not know this token (any more)`));
    });
  });
}

/** Tries the addresses in order. */
async function openAny<T>(
  clock: Clock,
  { node, addresses, port }: StreamAddress,
  token: string,
  timeoutMs: number,
  taken: (socket: Socket, rest: Uint8Array) => T,
  encryption: Encryption | undefined,
): Promise<Reply<T, ConnectErrno>> {
  const untilMs = clock.nowMs() + timeoutMs;
  let last: Reply<T, ConnectErrno> = fail('EHOSTUNREACH', 'no address to connect to');
  for (const [i, address] of addresses.entries()) {
    // The time left is shared by the addresses left, so that a dead first one does not use it all.
    const leftMs = (untilMs - clock.nowMs()) / (addresses.length - i);
    if (leftMs <= 0) return fail('ETIMEDOUT', `no answer from ${addresses.join(', ')}`);
    last = await open(clock, { node, host: address, port }, token, leftMs, taken, encryption);
    if (last.ok || last.errno === 'EACCES') return last;
  }
  return last;
}

/** The port on TCP. `host`: where to listen, all interfaces by default. */
export function tcpStreams({
  clock,
  host,
  encryption,
}: {
  clock: Clock;
  host?: string | undefined;
  encryption?: Encryption | undefined;
}): Streams {
  return {
    listen: () =>
      new Promise((resolve, reject) => {
        const server = createServer({ allowHalfOpen: true, noDelay: true });
        server.on('error', reject);
        server.listen(0, host, () => resolve(listener(server, clock, encryption)));
      }),
    connect: (to, token, timeoutMs) =>
      openAny(
        clock,
        to,
        token,
        timeoutMs,
        (socket, rest) => new SocketStream(socket, rest),
        encryption,
      ),
    // Whoever takes a descriptor over does not encrypt.
    connectBare: (to, token, timeoutMs) => {
      const addresses = to.addresses.filter((a) => !encryption || !leavesMachine(a, encryption));
      return openAny(clock, { ...to, addresses }, token, timeoutMs, bareConnection, undefined);
    },
  };
}
