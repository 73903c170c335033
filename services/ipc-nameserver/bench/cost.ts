// What IPC costs without a network: three nodes in one process on the memory transport. Takeover with 10,000 names,
// lookups, messages, bytes of a fifo. node infra/launch.mjs --no-setup services/ipc-nameserver/bench/cost.ts
import { memoryStore } from '../src/index.ts';
import { type Client, Cluster } from '../test/cluster.ts';

const names = 10_000;
const say = (what: string, figure: string): void =>
  void process.stdout.write(`${what}: ${figure}\n`);
const since = (beganMs: number): string => `${Math.round(performance.now() - beganMs)} ms`;

async function inParallel(
  n: number,
  width: number,
  run: (i: number) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < n) await run(next++);
  };
  await Promise.all(Array.from({ length: width }, worker));
}

async function until(run: () => Promise<{ ok: boolean }>): Promise<void> {
  const endMs = performance.now() + 20_000;
  while (!(await run()).ok) if (performance.now() > endMs) throw new Error('not within 20 s');
}

async function takeover(what: string, empty: boolean): Promise<void> {
  const cluster = new Cluster();
  await cluster.start(1, 2, 3);
  const clients = await Promise.all([2, 3].map((n) => cluster.client(n)));
  const [a, b] = clients as [Client, Client];
  await inParallel(names, 64, (i) => (i % 2 ? a : b).get('msg', String(i + 1)));
  if (empty) Object.assign(cluster.store, memoryStore());
  // The view that names the next one comes when the steps of the dead node are over.
  let beganMs = 0;
  const told = cluster.tell.bind(cluster);
  cluster.tell = () => {
    beganMs = performance.now();
    told();
  };
  await cluster.kill(1);
  await until(() => a.get('msg', '5000', { create: false }));
  say(`takeover, ${names} names, ${what}: an old name is found after`, since(beganMs));
  await until(() => b.get('msg', String(names + 1)));
  say(`takeover, ${names} names, ${what}: a new name is made after`, since(beganMs));
  await cluster.stop();
}

async function rates(): Promise<void> {
  const cluster = new Cluster();
  await cluster.start(1, 2, 3);
  const [here, there] = [await cluster.client(2), await cluster.client(3)];
  const id = await here.id('msg', '1');
  const text = new Uint8Array(64);
  for (const [what, client] of [
    ['on its node', here],
    ['on another', there],
  ] as const) {
    const count = 20_000;
    const round = async (): Promise<void> => {
      await client.call(id, { op: 'msgsnd', type: 1, text });
      await client.call(id, { op: 'msgrcv', size: 64, type: 0 });
    };
    await inParallel(2_000, 64, round);
    const beganMs = performance.now();
    await inParallel(count, 64, round);
    const perSecond = Math.round((count * 1_000) / (performance.now() - beganMs));
    say(`messages of 64 bytes, sent and received by a client ${what}`, `${perSecond}/s`);
  }
  const fifo = await here.id('fifo', '/f');
  const opening = there.call(fifo, { op: 'open', handle: 1, read: true, write: false });
  await here.call(fifo, { op: 'open', handle: 1, read: false, write: true });
  await opening;
  const bytes = new Uint8Array(65_536);
  const pieces = 1_000;
  const beganMs = performance.now();
  const writing = (async () => {
    for (let i = 0; i < pieces; i++) await here.call(fifo, { op: 'write', handle: 1, bytes });
  })();
  for (let got = 0; got < pieces * bytes.length; ) {
    const reply = await there.call(fifo, { op: 'read', handle: 1, size: bytes.length });
    if (!reply.ok) throw new Error(reply.detail);
    got += reply.value.text?.length ?? 0;
  }
  await writing;
  const rate = (pieces * bytes.length) / 1e6 / ((performance.now() - beganMs) / 1_000);
  say('a fifo, one writer, one reader on another node', `${Math.round(rate)} MB/s`);
  await cluster.stop();
}

await takeover('warm cache', false);
await takeover('empty cache', true);
await rates();
process.exit(0);
