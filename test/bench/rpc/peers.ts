// The ways of calling that are compared, each as a server and a client: a client's `call` resolves when its
// 128 bytes have come back.
import { createConnection, createServer } from 'node:net';
import { connect } from '@nats-io/transport-node';
import { trace } from '@opentelemetry/api';
import { ok, type Reply, type View } from '@ssi/contracts';
import { createEndpoint, createIcs, MemoryBus } from '@ssi/ics';
import { systemClock, systemRandom } from '@ssi/linux';
import { natsSpanStore, startTelemetry } from '@ssi/telemetry';
import { ServiceBroker } from 'moleculer';
import { bench } from './contract.ts';

/** What a server tells its clients. */
export interface Address {
  readonly nats: string;
  readonly port: number;
  readonly bootId: string;
}

export type Call = () => Promise<void>;

export interface Peer {
  serve(nats: string, sample: Sampling): Promise<Address>;
  client(address: Address, sample: Sampling): Promise<Call>;
}

/** Part of the calls whose trace is kept, 0..1; absent: without any tracing, not even its context. */
export type Sampling = number | undefined;

const text = 'x'.repeat(128);
const clock = systemClock();
const random = systemRandom();

/** Two nodes that are UP, as every service of a cluster knows them. */
const life = (node: number) => ({ bootCount: 1, bootId: `${node}`.repeat(16) });
const view: View = {
  transid: 1,
  term: 1,
  master: 1,
  members: [1, 2].map((num) => ({
    num,
    name: `n${num}`,
    incarnation: life(num),
    state: 'UP',
    facts: {
      ...{ addresses: [], cpus: 1, memBytes: 0, kernel: '', arch: '', cpuFlags: [], native: false },
      ...{ heartbeatPorts: { udp: 0, tcp: 0 }, versions: {} },
    },
  })),
  keyServices: {},
  pidBits: 16,
};

/** An endpoint with everything on that a service has: view, lives, reply cache, tracing. */
async function endpoint(node: number, nats: string, direct: boolean, sample: Sampling) {
  const cluster = direct ? 'direct' : 'bus';
  const opened = await createEndpoint({
    ...{ cluster, node, service: 'bench', clock, random, nats },
    ...(direct ? { tcp: { host: '127.0.0.1' } } : {}),
  });
  if (!opened.ok) throw new Error(opened.detail);
  const { value } = opened;
  if (sample !== undefined && value.nats)
    await startTelemetry({
      ...{ cluster, node, clock, sample, service: 'bench' },
      store: natsSpanStore(value.nats, cluster),
    });
  value.ics.setView(view, { num: node, incarnation: life(node) });
  return value;
}

const handlers = { echo: (request: { text: string }) => ok({ text: request.text }) };

function must(reply: Reply<unknown>): void {
  if (!reply.ok) throw new Error(`${reply.errno} ${reply.detail}`);
}

/** What a caller of ours does that is part of a trace: a root span round each call. */
function traced(call: (traceparent?: string) => Promise<Reply<unknown>>, sample: Sampling): Call {
  const tracer = trace.getTracer('bench');
  return async () => {
    if (sample === undefined) {
      must(await call());
      return;
    }
    const span = tracer.startSpan('bench');
    const c = span.spanContext();
    const reply = await call(`00-${c.traceId}-${c.spanId}-0${c.traceFlags}`);
    span.end();
    must(reply);
  };
}

const ours = (direct: boolean): Peer => ({
  serve: async (nats, sample) => {
    const { ics, tcpPort } = await endpoint(2, nats, direct, sample);
    ics.serve(bench, handlers);
    return { nats, port: tcpPort, bootId: ics.self.bootId };
  },
  client: async ({ nats, port, bootId }, sample) => {
    const { ics, setMap } = await endpoint(1, nats, direct, sample);
    if (direct)
      setMap([
        {
          node: 2,
          service: 'bench',
          bootId,
          incarnation: life(2),
          tcp: [{ host: '127.0.0.1', port }],
        },
      ]);
    return traced(
      (traceparent) =>
        ics.call(
          bench,
          'echo',
          2,
          { text },
          traceparent ? { context: { priority: 0, traceparent } } : {},
        ),
      sample,
    );
  },
});

const inMemory: Peer = {
  serve: async (nats) => ({ nats, port: 0, bootId: '' }),
  client: async (_, sample) => {
    const bus = new MemoryBus();
    const [a, b] = [1, 2].map((node) => {
      const ics = createIcs({
        ...{ node, service: 'bench', clock, random },
        transports: [bus.transport({ node, service: 'bench' })],
      });
      ics.setView(view, { num: node, incarnation: life(node) });
      return ics;
    });
    if (!a || !b) throw new Error('two endpoints');
    b.serve(bench, handlers);
    return traced(() => a.call(bench, 'echo', 2, { text }), sample && undefined);
  },
};

const rawRequest: Peer = {
  serve: async (nats) => {
    const connection = await connect({ servers: nats });
    connection.subscribe('bench.raw', { callback: (_, m) => void m.respond(m.data) });
    await connection.flush();
    return { nats, port: 0, bootId: '' };
  },
  client: async ({ nats }) => {
    const connection = await connect({ servers: nats });
    const body = Buffer.from(text);
    return async () => void (await connection.request('bench.raw', body, { timeout: 5_000 }));
  },
};

const broker = (nats: string, nodeID: string): ServiceBroker =>
  new ServiceBroker({
    ...{ nodeID, namespace: 'bench', logger: false, tracing: false, metrics: false },
    transporter: { type: 'NATS', options: { url: nats } },
  });

const moleculer: Peer = {
  serve: async (nats) => {
    const b = broker(nats, 'server');
    b.createService({
      name: 'bench',
      actions: { echo: (ctx: { params: { text: string } }) => ({ text: ctx.params.text }) },
    });
    await b.start();
    return { nats, port: 0, bootId: '' };
  },
  client: async ({ nats }) => {
    const b = broker(nats, 'client');
    await b.start();
    await b.waitForServices('bench');
    return async () => void (await b.call('bench.echo', { text }));
  },
};

/** No framing beyond the fixed size, no identity: what the kernel and Node cost. */
const rawTcp: Peer = {
  serve: (nats) =>
    new Promise((resolve) => {
      const server = createServer({ noDelay: true }, (s) =>
        s.on('data', (chunk) => s.write(chunk)),
      );
      server.listen(0, '127.0.0.1', () => {
        const at = server.address();
        resolve({ nats, port: typeof at === 'object' && at ? at.port : 0, bootId: '' });
      });
    }),
  client: ({ port }) =>
    new Promise((resolve) => {
      const body = Buffer.from(text);
      const waiting: (() => void)[] = [];
      let got = 0;
      const socket = createConnection({ host: '127.0.0.1', port, noDelay: true }, () =>
        resolve(
          () =>
            new Promise((done) => {
              waiting.push(done);
              socket.write(body);
            }),
        ),
      );
      socket.on('data', (chunk) => {
        got += chunk.length;
        const whole = Math.floor(got / body.length);
        got -= whole * body.length;
        for (const done of waiting.splice(0, whole)) done();
      });
    }),
};

export const peers: Readonly<Record<string, Peer>> = {
  'ours on NATS': ours(false),
  'ours on TCP': ours(true),
  'ours in memory': inMemory,
  'nats.js request()': rawRequest,
  'moleculer on NATS': moleculer,
  'raw TCP echo': rawTcp,
};
