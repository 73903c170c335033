// The same programs over three nodes: each process is a client of another node, each object is on another one. A
// step is over when every call has ended or waits at its manager.
import type { IpcType, Reply } from '@ssi/contracts';
import { type Client, type Cluster, until } from '../cluster.ts';
import { requestOf, told } from './ours.ts';
import { type Program, workers } from './program.ts';

const names = { msg: '4711', sem: '4711', mq: '/judge', fifo: '/judge' } as const;

export async function runOverNodes(cluster: Cluster, program: Program): Promise<string[]> {
  const clients = await Promise.all([1, 2, 3].map((node) => cluster.client(node)));
  const clientOf = (worker: number): Client => {
    const client = clients[worker];
    if (!client) throw new Error(`no worker ${worker}`);
    return client;
  };
  const ids = new Map<IpcType, number>();
  for (const [i, [type, name]] of Object.entries(names).entries()) {
    const attributes = { ...program, value: 0 };
    const made = await clientOf(i % workers).id(type as IpcType, name, {
      attributes,
      exclusive: true,
    });
    ids.set(type as IpcType, made);
  }
  const counted = async (what: string): Promise<number[]> =>
    Promise.all([...cluster.nodes.keys()].map(async (n) => (await cluster.counters(n))[what] ?? 0));
  /** The client ends, and every manager knows. */
  const end = async (worker: number): Promise<void> => {
    const before = await counted('ended');
    await clientOf(worker).close();
    await until('its end is known', async () =>
      (await counted('ended')).every((n, i) => n > (before[i] ?? 0)),
    );
    await clientOf(worker).ics.close();
  };

  const busy = new Map<number, { op: string; reply?: Reply<object> }>();
  const gone = new Set<IpcType>();
  const lines: string[] = [];
  for (const step of program.steps) {
    const { worker, op } = step;
    if (op === 'exit') {
      busy.delete(worker);
      await end(worker);
      clients[worker] = await cluster.client(worker + 1);
    } else {
      const [type, request] = requestOf(step) ?? [];
      if (!type || !request) throw new Error(`no such call: ${op}`);
      const call: { op: string; reply?: Reply<object> } = { op };
      busy.set(worker, call);
      void clientOf(worker)
        .call(ids.get(type) ?? 0, request)
        .then((reply) => {
          // An id of the past is EINVAL there, and EIDRM here for who knew it.
          call.reply =
            !reply.ok && reply.errno === 'EIDRM' && gone.has(type)
              ? { ok: false, errno: 'EINVAL', detail: '' }
              : reply;
          if (reply.ok && request.op === 'remove') gone.add(type);
        });
    }
    await until('the step is over', async () => {
      const waiting = await cluster.waiting();
      return [...busy.values()].filter((c) => !c.reply).length === waiting;
    });
    const ended = [...busy].flatMap(([w, c]) => (c.reply ? [told(w, c.op, c.reply)] : []));
    for (const [w, c] of [...busy]) if (c.reply) busy.delete(w);
    lines.push(ended.sort().join(' '));
  }
  await Promise.all(clients.map((_, worker) => end(worker)));
  const last = await cluster.client(1);
  for (const id of ids.values()) await last.call(id, { op: 'remove' });
  await last.close();
  await last.ics.close();
  return lines;
}
