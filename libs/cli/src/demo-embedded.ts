// The main job without root or broker: three nodes in this process, an actor that counts while it moves
// and outlives the node it was born on, and the trace of its last move. Every answer is checked.
import { defineActor, type Ssi } from '@ssi/client';
import { fail, ok, type Reply } from '@ssi/contracts';
import { assign, setup } from 'xstate';
import type { DemoOutput } from './demo-native.ts';
import { createEmbeddedCluster, type EmbeddedCluster } from './up/embedded.ts';
import { until } from './up/host.ts';

const counterMachine = setup({
  types: { context: {} as { count: number }, events: {} as { type: 'next' } },
  actions: { reply: (_, _count: number) => {} },
}).createMachine({
  context: { count: 0 },
  on: {
    next: {
      actions: [
        { type: 'reply', params: ({ context }) => context.count },
        assign({ count: ({ context }) => context.count + 1 }),
      ],
    },
  },
});
const counter = defineActor({ type: 'counter', machine: counterMachine });
const askEveryMs = 50;

/** Asks for the next number twenty times a second, and checks that none is missing or repeated. */
function ask(ssi: Ssi, pid: number, out: DemoOutput) {
  const state = { next: 0, wrong: undefined as string | undefined, node: 0, quiet: false };
  let inRow = false;
  const endRow = (): void => {
    if (inRow) out.write('\n');
    inRow = false;
  };
  const once = async (): Promise<void> => {
    const reply = await ssi.ask({ pid, type: counter.type }, { type: 'next' });
    const said = reply.ok ? String(reply.value) : `${reply.errno} ${reply.detail}`;
    if (said !== String(state.next)) state.wrong ??= `${said} where ${state.next} was due`;
    state.next++;
    if (state.quiet) return;
    if (!inRow) out.write(`      node ${state.node} │`);
    inRow = true;
    out.write(` ${said}`);
  };
  const timer = setInterval(() => void once(), askEveryMs);
  return {
    state,
    on: (node: number) => {
      endRow();
      state.node = node;
      state.quiet = false;
    },
    hush: () => {
      endRow();
      state.quiet = true;
    },
    more: (count: number) => {
      const goal = state.next + count;
      return until(() => state.next >= goal || state.wrong !== undefined, 15_000);
    },
    stop: () => clearInterval(timer),
  };
}

/** The cluster stays up: the caller closes it. */
export async function demoEmbedded(
  out: DemoOutput,
): Promise<Reply<{ pid: number; cluster: EmbeddedCluster }>> {
  out.say(
    '1  Three nodes in this process, on the memory transport: actors move, native programs do not.',
  );
  const cluster = await createEmbeddedCluster({ nodes: 3 });
  const told = await story(cluster, out);
  if (told.ok) return ok({ pid: told.value, cluster });
  await cluster.close();
  return told;
}

async function story(cluster: EmbeddedCluster, out: DemoOutput): Promise<Reply<number>> {
  const { ssi } = cluster;
  const up = await cluster.up(20_000);
  if (!up.ok) return up;
  for (const node of [1, 2, 3]) {
    const host = await ssi.host({ node, actors: [counter] });
    if (!host.ok) return host;
  }
  let nodes = await ssi.nodes();
  const hosted = async (): Promise<boolean> => {
    nodes = await ssi.nodes();
    return nodes.ok && nodes.value.every((n) => n.services.some((s) => s.name === 'actor'));
  };
  if (!(await until(hosted, 10_000))) return fail('ETIMEDOUT', 'no node has an actor host');
  for (const n of nodes.ok ? nodes.value : []) {
    const services = n.services.map((s) => s.name).join(' ');
    const master = n.isMaster ? '  (master)' : '';
    out.say(`      node ${n.num}  ${n.state.padEnd(4)} ${services}${master}`);
  }

  out.say('\n2  An actor starts on node 1: it is a process, and counts when asked.');
  const started = await ssi.spawn(counter, { node: 1 });
  if (!started.ok) return started;
  const { pid } = started.value;
  const seen = ask(ssi, pid, out);
  const bad = () => fail('EIO', `the count went wrong: ${seen.state.wrong ?? 'it stopped'}`);
  try {
    seen.on(1);
    if (!(await seen.more(12)) || seen.state.wrong) return bad();
    let traceId = '';
    for (const to of [2, 3]) {
      const moved = await ssi.migrate(pid, to);
      if (!moved.ok) return moved;
      traceId = moved.value.traceId;
      seen.on(to);
      if (!(await seen.more(12)) || seen.state.wrong) return bad();
      seen.hush();
      const { from, freezeMs, bytes } = moved.value;
      out.say(
        `${to === 2 ? '\n3  It moved while it was asked' : '   And again'}: node ${from} to ${to}, ` +
          `pid ${pid} as before, frozen for ${freezeMs.toFixed(1)} ms, ${bytes} bytes.`,
      );
    }

    out.say('\n4  Node 1, where it was born, is stopped: every service of it, at once.');
    await cluster.killNode(1);
    const down = async (): Promise<boolean> => {
      const view = await ssi.view();
      return view.ok && view.value.members.some((m) => m.num === 1 && m.state === 'DOWN');
    };
    if (!(await until(down, 20_000))) return fail('ETIMEDOUT', 'node 1 was not declared DOWN');
    seen.on(3);
    if (!(await seen.more(12)) || seen.state.wrong) return bad();
    seen.hush();
    out.say(
      `   Node 1 is DOWN. The actor goes on: ${seen.state.next} numbers, none missing, none repeated.`,
    );
    const ps = await ssi.ps();
    if (!ps.ok) return ps;
    const found = ps.value.processes.find((p) => p.pid === pid);
    if (!found) return fail('ESRCH', `ps does not show ${pid}`);
    const { origin, node, kind, state, hop } = found;
    out.say(`      pid ${pid}  ${kind}  ${state}  node ${node}  origin ${origin}  ${hop} moves`);

    out.say(`\n5  The trace of the last move (${traceId}):`);
    await cluster.flush();
    const spans = await ssi.trace(traceId);
    if (!spans.ok) return spans;
    if (!spans.value.some((s) => s.name === 'migrate'))
      return fail('ENOENT', `no span of the move in trace ${traceId}`);
    out.say(out.waterfall(spans.value));
    return ok(pid);
  } finally {
    seen.stop();
  }
}
