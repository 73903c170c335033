// The data plane in user space: listens on the services' addresses and carries bytes to their servers, in this process
// and without root (for ports below 1,024: where the system lets it). Each connection goes by its scheduler at the
// moment it begins. Servers see this machine's address: masq is as fullnat.
import { connect, createServer, type Server, type Socket } from 'node:net';
import { fail, ok, type Reply, type VirtualService } from '@ssi/contracts';
import { takeDescriptor } from '@ssi/linux';
import { serverText, serviceText } from '@ssi/lvs';
import type { Clock, Random } from '@ssi/ports';
import { flowsOf, type HeldFlow } from '../flows.ts';
import type { DataPlane } from '../ports.ts';
import { addressNumber } from '../schedulers/maglev.ts';
import { relayDatagrams } from './data-plane.proxy-udp.ts';
import { type Carried, type Counted, countedOf, faultOf, nothing } from './listening.ts';
import { Splicer } from './splicer.ts';

type ApplyReply = Awaited<ReturnType<DataPlane['apply']>>;

interface Listening extends Carried {
  service: VirtualService;
  readonly close: () => void;
}

/** Connections of one service that may wait to be accepted. */
const backlog = 4_096;

export function proxyDataPlane(q: { readonly clock: Clock; readonly random: Random }): DataPlane {
  let listening = new Map<string, Listening>();
  const splicer = new Splicer();
  /** Connections whose server has not answered yet. */
  const beginning = new Set<Socket>();

  async function listen(service: VirtualService): Promise<Reply<Listening, 'EBUSY' | 'EIO'>> {
    const carried = { flows: flowsOf(service, q.random), traffic: new Map<string, Counted>() };
    const { id } = service;
    // Checked by `apply`.
    if (id.protocol === 'fwmark') return fail('EIO', 'no address');
    const destination = addressNumber(id.address);
    if (id.protocol === 'udp') {
      const relay = await relayDatagrams(id, carried, q.clock);
      return relay.ok ? ok({ ...carried, service, close: relay.value.close }) : relay;
    }
    const server = createServer({ noDelay: true, pauseOnConnect: true });
    server.on('connection', (client) => {
      const flow = carried.flows.begin({
        ...{ client: addressNumber(client.remoteAddress ?? '0.0.0.0'), destination },
        ...{ clientPort: client.remotePort ?? 0, atMs: q.clock.nowMs() },
      });
      if (!flow) return void client.resetAndDestroy();
      carry(client, flow, countedOf(carried.traffic, flow), id.port);
    });
    const bound = await bind(server, id);
    return bound.ok ? ok({ ...carried, service, close: () => server.close() }) : bound;
  }

  function carry(client: Socket, flow: HeldFlow, counted: Counted, asked: number): void {
    const { address, port } = flow.server;
    const upstream = connect({ host: address, port: port || asked, noDelay: true });
    counted.connections++;
    // Neither has been read from when the splicer takes it.
    upstream.pause();
    for (const socket of [client, upstream]) beginning.add(socket);
    const over = (): void => {
      for (const socket of [client, upstream]) beginning.delete(socket);
    };
    const refuse = (): void => {
      over();
      client.resetAndDestroy();
      upstream.destroy();
      flow.end();
    };
    client.on('error', refuse);
    upstream.on('error', refuse);
    upstream.once('connect', () => {
      over();
      flow.established();
      splicer.add([takeDescriptor(client), takeDescriptor(upstream)], {
        bytes(from, bytes) {
          if (from === 0) {
            counted.inPackets++;
            counted.inBytes += bytes;
          } else {
            counted.outPackets++;
            counted.outBytes += bytes;
          }
        },
        ending: flow.closing,
        ended: flow.end,
      });
    });
  }

  return {
    async apply(planned): Promise<ApplyReply> {
      for (const { service } of planned) {
        const fault = faultFor(service);
        if (fault) return fail('EOPNOTSUPP', `${serviceText(service.id)}: ${fault}`);
      }
      const next = new Map<string, Listening>();
      const opened: Listening[] = [];
      for (const { service } of planned) {
        const name = serviceText(service.id);
        const known = listening.get(name);
        const one = known ? ok(known) : await listen(service);
        if (!one.ok) {
          for (const { close } of opened) close();
          return one;
        }
        if (!known) opened.push(one.value);
        next.set(name, one.value);
      }
      for (const { service } of planned) {
        const one = next.get(serviceText(service.id));
        if (!one) continue;
        one.service = service;
        one.flows.change(service);
        const names = new Set(service.servers.map(serverText));
        for (const name of one.traffic.keys()) if (!names.has(name)) one.traffic.delete(name);
      }
      for (const [name, one] of listening) if (!next.has(name)) one.close();
      listening = next;
      return ok();
    },
    async connections() {
      return ok(
        new Map(
          [...listening].flatMap(([name, { flows }]) =>
            flows
              .candidates()
              .map(({ server, active, inactive }) => [
                `${name} ${serverText(server)}`,
                { active, inactive },
              ]),
          ),
        ),
      );
    },
    async traffic() {
      return ok(
        new Map(
          [...listening].flatMap(([name, { service, traffic }]) =>
            service.servers.map((server) => [
              `${name} ${serverText(server)}`,
              { ...(traffic.get(serverText(server)) ?? nothing()) },
            ]),
          ),
        ),
      );
    },
    async clear() {
      for (const { close } of listening.values()) close();
      listening = new Map();
      for (const socket of beginning) socket.destroy();
      splicer.clear();
      return ok();
    },
  };
}

function faultFor({ id, servers }: VirtualService): string | undefined {
  if (id.protocol === 'fwmark') return 'a user-space proxy sees no marks';
  if (id.port === 0) return 'a user-space proxy cannot listen on all ports';
  const forward = servers.map((s) => s.forward).find((f) => f === 'route' || f === 'tunnel');
  return forward && `a user-space proxy cannot do ${forward}`;
}

function bind(
  server: Server,
  { address, port }: { address: string; port: number },
): Promise<Reply<undefined, 'EBUSY' | 'EIO'>> {
  return new Promise((done) => {
    server.once('error', (error) => done(faultOf(error, `${address}:${port}`)));
    server.listen({ host: address, port, backlog }, () => {
      server.on('error', () => {});
      done(ok());
    });
  });
}
