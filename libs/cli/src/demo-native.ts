// The main job, shown: three nodes, a program that moves while it runs and outlives the node it was born
// on, and the trace of its last move. What is claimed is checked on the way; a failed claim ends with 1.
import type { Attachment, ClusterFile, Ssi } from '@ssi/client';
import { fail, ok, type Reply } from '@ssi/contracts';
import type { SpanRecord } from '@ssi/telemetry';
import { killOneNode } from './up/cluster.ts';
import { program, until } from './up/host.ts';

export interface DemoOutput {
  /** A paragraph of the story. */
  say(text: string): void;
  /** Text within a line, as the program writes. */
  write(text: string): void;
  waterfall(spans: readonly SpanRecord[]): string;
}

/** Numbers, one a line, twenty a second; `sleep` is a process of its own each time, as in any script. */
const counter = ['/bin/sh', '-c', 'i=0; while :; do echo $i; i=$((i+1)); sleep 0.05; done'];

/** Shows the numbers as they come, a new row for each node, and checks that none is missing or repeated. */
function watch(attachment: Attachment, out: DemoOutput) {
  const state = {
    next: 0,
    wrong: undefined as string | undefined,
    rest: '',
    node: 0,
    inRow: false,
    quiet: false,
  };
  /** A row is opened by its first number, so that what is told in between stands on lines of its own. */
  const row = () => {
    out.write(`      node ${state.node} │`);
    state.inRow = true;
  };
  const endRow = () => {
    if (state.inRow) out.write('\n');
    state.inRow = false;
  };
  const number = (line: string) => {
    if (line !== String(state.next)) state.wrong ??= `${line} where ${state.next} was due`;
    state.next = Number(line) + 1;
    if (state.quiet) return;
    if (!state.inRow) row();
    out.write(` ${line}`);
  };
  const reading = (async () => {
    for await (const event of attachment.events()) {
      if (event.type === 'attached') {
        endRow();
        state.node = event.node;
      }
      if (event.type === 'gap') state.wrong ??= `${event.bytes} bytes are missing`;
      if (event.type === 'failed') state.wrong ??= event.failure.detail;
      if (event.type !== 'data') continue;
      state.rest += Buffer.from(event.bytes).toString();
      const lines = state.rest.split('\n');
      state.rest = lines.pop() ?? '';
      lines.forEach(number);
    }
  })();
  return {
    state,
    reading,
    /** From here on it is checked and no longer shown. */
    hush: () => {
      endRow();
      state.quiet = true;
    },
    show: () => {
      state.quiet = false;
    },
    /** Resolves when so many more numbers have come. */
    more: (count: number) => {
      const goal = state.next + count;
      return until(() => state.next >= goal || state.wrong !== undefined, 15_000);
    },
  };
}

/** Runs a program to its end and gives what it wrote. */
async function output(ssi: Ssi, node: number, argv: string[], env: Record<string, string>) {
  const run = await ssi.run({ argv, env, cwd: '/', node, noInput: true });
  if (!run.ok) return run;
  let text = '';
  for await (const event of ssi.attach(run.value.pid).events())
    if (event.type === 'data') text += Buffer.from(event.bytes).toString();
  await ssi.wait(run.value.pid);
  return ok(text);
}

export async function demoNative(
  ssi: Ssi,
  cluster: ClusterFile,
  out: DemoOutput,
): Promise<Reply<{ pid: number }>> {
  const nodes = await ssi.nodes();
  if (!nodes.ok) return nodes;
  for (const n of nodes.value) {
    const services = n.services.map((s) => s.name).join(' ');
    out.say(
      `      node ${n.num}  ${n.state.padEnd(4)} ${services}${n.isMaster ? '  (master)' : ''}`,
    );
  }

  out.say('\n2  A program starts on node 1: an ordinary shell script that counts.');
  const started = await ssi.run({
    argv: counter,
    env: { PATH: '/usr/bin:/bin' },
    cwd: '/',
    node: 1,
  });
  if (!started.ok) return started;
  const { pid } = started.value;
  const attachment = ssi.attach(pid);
  const seen = watch(attachment, out);
  const bad = () => fail('EIO', `the count went wrong: ${seen.state.wrong ?? 'it stopped'}`);
  if (!(await seen.more(12)) || seen.state.wrong) return bad();

  let traceId = '';
  for (const to of [2, 3]) {
    seen.show();
    const moved = await ssi.migrate(pid, to);
    if (!moved.ok) return moved;
    traceId = moved.value.traceId;
    if (!(await seen.more(12)) || seen.state.wrong) return bad();
    seen.hush();
    const { from, freezeMs, bytes } = moved.value;
    out.say(
      `${to === 2 ? '\n3  It moved while it ran' : '   And again'}: node ${from} to ${to}, pid ${pid} as before, ` +
        `frozen for ${freezeMs.toFixed(0)} ms, ${(bytes / 1024).toFixed(0)} KiB.`,
    );
  }

  out.say('\n4  Node 1, where it was born, is killed: every process of it, at once.');
  seen.show();
  const killed = await killOneNode(cluster.name, 1);
  if (!killed.ok) return killed;
  const down = async () => {
    const view = await ssi.view();
    return view.ok && view.value.members.some((m) => m.num === 1 && m.state === 'DOWN');
  };
  if (!(await until(down, 20_000))) return fail('ETIMEDOUT', 'node 1 was not declared DOWN');
  if (!(await seen.more(12)) || seen.state.wrong) return bad();
  seen.hush();
  out.say(
    `   Node 1 is DOWN. The program goes on: ${seen.state.next} numbers, none missing, none repeated.`,
  );

  out.say('\n5  ssi ps, run on node 2:');
  const env = { PATH: process.env.PATH ?? '/usr/bin:/bin', SSI_CLUSTER: cluster.name };
  const cli = [process.execPath, program('libs/cli/src/main.ts'), 'ps'];
  const ps = await output(ssi, 2, cli, env);
  if (!ps.ok) return ps;
  out.say(ps.value.replace(/^/gm, '      ').trimEnd());
  if (!ps.value.includes(String(pid))) return fail('ESRCH', `ps on node 2 does not show ${pid}`);

  out.say(`\n6  The trace of the last move (ssi trace ${traceId}):`);
  let spans: readonly SpanRecord[] = [];
  await until(
    async () => {
      const found = await ssi.trace(traceId);
      spans = found.ok ? found.value : [];
      return spans.some((s) => s.name === 'migrate') && spans.some((s) => s.parentSpanId === null);
    },
    5_000,
    100,
  );
  out.say(out.waterfall(spans));
  attachment.close();
  await seen.reading;
  return ok({ pid });
}
