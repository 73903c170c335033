// The memory transport from another process: a connection on a unix socket for each endpoint there, whose
// frames the process with the MemoryBus passes on in its name. Besides frames a connection carries
// questions and hints of whoever opened the socket. Who may open it is trusted like code of that process.
import { chmodSync } from 'node:fs';
import { createConnection, createServer, type Socket } from 'node:net';
import { type Endpoint, fail, ok, type Reply } from '@ssi/contracts';
import { decodeBody, encodeBody } from './frame.ts';
import { Link } from './link.ts';
import type { Receiver, Transport, Via } from './transport.ts';

/** From the endpoint. `reply` leads back to a caller; `ask` is answered under its number. */
type Said =
  | ['hello', cluster: string, node: number, service: string]
  | ['serve', contract: string]
  | ['send', to: number, contract: string, version: number, op: string, tag: string, frame: Buffer]
  | ['reply', node: number, service: string, frame: Buffer]
  | ['ask', number: number, what: string, value: unknown];

/** To it. `servers`: who serves what, all of it, first of all and at every change. */
type Told =
  | ['servers', string[]]
  | ['frame', frame: Buffer, node?: number, service?: string]
  | ['unreachable', tag: string]
  | ['answer', number: number, value: unknown]
  | ['hint'];

const noWay: Via = { transport: 'memory', send: () => false };

export interface UnixDoorOptions {
  readonly path: string;
  readonly cluster: string;
  /** An endpoint's own, as MemoryBus gives them; and what that bus serves. */
  readonly transport: (self: Endpoint) => Transport;
  readonly servers: () => string[];
  /** Questions that are no calls; what it rejects with ends the connection. */
  readonly answer: (what: string, value: unknown) => Promise<unknown>;
}

export interface UnixDoor {
  /** To everybody: worth a look. */
  hint(): void;
  /** Ends the endpoints of that node. */
  drop(node: number): void;
  close(): Promise<void>;
}

/** Opens the socket, for its owner alone. Rejects where that cannot be. */
export async function openUnixDoor(options: UnixDoorOptions): Promise<UnixDoor> {
  const guests = new Map<Socket, { tell: (told: Told) => void; node: number }>();
  const server = createServer((socket) => {
    let transport: Transport | undefined;
    const link = new Link(socket, (bytes) => {
      try {
        take(decodeBody(bytes) as Said);
      } catch {
        socket.destroy(); // it does not speak as it should
      }
    });
    const tell = (told: Told): void => void link.send(encodeBody(told));
    const enter = (self: Endpoint): Transport => {
      const made = options.transport(self);
      guests.set(socket, { tell, node: self.node });
      made.open({
        frame: (bytes, { to }) =>
          tell(to ? ['frame', bytes as Buffer, to.node, to.service] : ['frame', bytes as Buffer]),
        unreachable: (_, tag) => tell(['unreachable', tag]),
        broken: () => {},
        changed: () => tell(['servers', options.servers()]),
      });
      tell(['servers', options.servers()]);
      return made;
    };
    const take = (said: Said): void => {
      if (said[0] === 'hello') {
        const [, cluster, node, service] = said;
        if (transport || cluster !== options.cluster) throw new Error('another cluster');
        transport = enter({ node, service });
      } else if (!transport) throw new Error('no hello');
      else if (said[0] === 'serve') transport.serve(said[1]);
      else if (said[0] === 'send') {
        const [, to, contract, version, op, tag, frame] = said;
        transport.send({ to, contract, version, op, tag, frame });
      } else if (said[0] === 'reply')
        transport.backTo({ node: said[1], service: said[2] })?.send(said[3]);
      else
        void options.answer(said[2], said[3]).then(
          (value) => tell(['answer', said[1], value]),
          () => socket.destroy(),
        );
    };
    socket.on('error', () => {});
    socket.on('close', () => {
      guests.delete(socket);
      void transport?.close();
    });
  });
  await new Promise<void>((done, failed) => {
    server.once('error', failed);
    server.listen(options.path, done);
  });
  chmodSync(options.path, 0o600);
  return {
    hint: () => {
      for (const { tell } of guests.values()) tell(['hint']);
    },
    drop: (node) => {
      for (const [socket, guest] of guests) if (guest.node === node) socket.destroy();
    },
    close: () =>
      new Promise((done) => {
        server.close(() => done());
        for (const socket of guests.keys()) socket.destroy();
      }),
  };
}

export interface UnixEndpoint {
  readonly transport: Transport;
  /** Rejects when the connection is over. */
  ask(what: string, value: unknown): Promise<unknown>;
  onHint(fn: () => void): { stop(): void };
}

/** EHOSTUNREACH: nobody opened that socket, or not for us. */
export function enterUnixDoor(
  path: string,
  cluster: string,
  self: Endpoint,
): Promise<Reply<UnixEndpoint, 'EHOSTUNREACH'>> {
  return new Promise((resolve) => {
    let servers: ReadonlySet<string> = new Set();
    let receiver: Receiver | undefined;
    let open = false;
    const hints = new Set<() => void>();
    const asked = new Map<number, { done(value: unknown): void; failed(error: Error): void }>();
    let asks = 0;
    const socket = createConnection(path);
    const link = new Link(socket, (bytes) => take(decodeBody(bytes) as Told));
    const say = (said: Said): boolean => link.send(encodeBody(said));
    const closed = new Promise<void>((done) => socket.once('close', () => done()));
    const wayTo = (node: number, service: string): Via => ({
      transport: 'memory',
      send: (frame) => open && say(['reply', node, service, frame as Buffer]),
    });
    const take = (told: Told): void => {
      if (told[0] === 'frame') {
        const [, frame, node, service] = told;
        const known = node !== undefined && service !== undefined;
        receiver?.frame(frame, known ? wayTo(node, service) : noWay);
      } else if (told[0] === 'unreachable') receiver?.unreachable('memory', told[1]);
      else if (told[0] === 'answer') {
        asked.get(told[1])?.done(told[2]);
        asked.delete(told[1]);
      } else if (told[0] === 'hint') for (const fn of [...hints]) fn();
      else {
        servers = new Set(told[1]);
        receiver?.changed('memory');
        if (!open) resolve(ok(endpoint));
        open = true;
      }
    };
    const refuse = (tag: string): void =>
      queueMicrotask(() => receiver?.unreachable('memory', tag));
    const endpoint: UnixEndpoint = {
      transport: {
        name: 'memory',
        guessMs: 0.05,
        mayDuplicate: false,
        open: (r) => {
          receiver = r;
        },
        serve: (contract) => void say(['serve', contract]),
        ready: (node, contract) => open && servers.has(`${node}/${contract}`),
        absent: (node, contract) => open && !servers.has(`${node}/${contract}`),
        send: ({ to, contract, version, op, tag, frame }) => {
          const left = open && say(['send', to, contract, version, op, tag, frame as Buffer]);
          if (!left) refuse(tag);
        },
        backTo: ({ node, service }) => wayTo(node, service),
        close: async () => {
          receiver = undefined;
          open = false;
          await Promise.resolve(); // what was said just before still goes out
          socket.end();
          await closed;
        },
      },
      ask: (what, value) =>
        new Promise((done, failed) => {
          asked.set(++asks, { done, failed });
          if (!open || !say(['ask', asks, what, value])) failed(new Error(`${path} is closed`));
        }),
      onHint: (fn) => {
        hints.add(fn);
        return { stop: () => void hints.delete(fn) };
      },
    };
    socket.once('connect', () => say(['hello', cluster, self.node, self.service]));
    socket.on('error', () => {});
    socket.once('close', () => {
      open = false;
      resolve(fail('EHOSTUNREACH', `nobody answers at ${path}`));
      for (const { failed } of asked.values()) failed(new Error(`${path} was closed`));
      receiver?.broken('memory');
    });
  });
}
