// ssi trace: what an operation did, span by span, from the built-in store; without an id, the recent ones.
import { InvalidArgumentError } from 'commander';
import { countArgument } from '../arguments.ts';
import type { Define } from '../command-table.ts';
import { duration, table } from '../output.ts';
import { exitCode } from '../status.ts';
import { droppedSpans, waterfall } from '../waterfall.ts';

function traceArgument(text: string): string {
  if (!/^[0-9a-f]{4,32}$/i.test(text))
    throw new InvalidArgumentError('A trace id is 32 hex digits, or the first 4 or more of them.');
  return text.toLowerCase();
}

/** Looked through for the beginning of an id. */
const recentMax = 1_000;
const widthDefault = 120;

export const define: Define = (command, shell) => {
  command
    .argument('[id]', 'a trace id, or its beginning', traceArgument)
    .option('-n, --count <count>', 'how many recent traces', countArgument, 20)
    .option(
      '--json',
      'as JSON: [{spanId,parentSpanId,name,service,node,startMs,durationMs,status}]',
    )
    .addHelpText(
      'after',
      `
startMs is wall-clock, ms since 1970; node 0 is a client. The store keeps the last hour, at most 64 MiB.

Examples:
  ssi trace
  ssi trace 4bf92f35`,
    )
    .action(
      shell.act((id: string | undefined, options: { count: number; json?: boolean }) =>
        shell.withSsi(command, async (ssi) => {
          if (id === undefined) {
            const recent = await ssi.traces(options.count);
            if (!recent.ok) return shell.fail(command, undefined, recent);
            if (options.json) shell.json(recent.value);
            else
              shell.out(
                table(
                  [
                    { title: 'TRACE', of: (t) => t.traceId },
                    { title: 'START', of: (t) => new Date(t.startMs).toISOString().slice(11, 23) },
                    { title: 'TOOK', of: (t) => duration(t.durationMs), align: 'right' },
                    { title: 'SPANS', of: (t) => t.spans, align: 'right' },
                    { title: 'NODES', of: (t) => t.nodes.filter((n) => n > 0).join(',') || '-' },
                    { title: 'STATUS', of: (t) => t.status },
                    { title: 'NAME', of: (t) => t.name },
                  ],
                  recent.value,
                  { paint: shell.paint, width: shell.width },
                ),
              );
            return exitCode.ok;
          }
          let traceId = id;
          if (id.length < 32) {
            const recent = await ssi.traces(recentMax);
            if (!recent.ok) return shell.fail(command, id, recent);
            const found = recent.value.filter((t) => t.traceId.startsWith(id));
            if (found.length > 1)
              return shell.usage(command, `${id} begins ${found.length} traces`);
            traceId = found[0]?.traceId ?? id;
          }
          const reply = await ssi.trace(traceId);
          if (!reply.ok) return shell.fail(command, id, reply);
          const spans = reply.value;
          if (spans.length === 0)
            return shell.fail(command, id, {
              ok: false,
              errno: 'ENOENT',
              detail: 'no such trace, or no longer kept; see the recent ones with: ssi trace',
            });
          if (options.json)
            shell.json(
              spans.map((s) => ({
                spanId: s.spanId,
                parentSpanId: s.parentSpanId,
                name: s.name,
                service: s.service,
                node: s.node,
                startMs: s.startMs,
                durationMs: s.durationMs,
                status: s.status,
              })),
            );
          else {
            shell.out(waterfall(spans, { width: shell.width ?? widthDefault, paint: shell.paint }));
            const dropped = droppedSpans(spans);
            if (dropped > 0)
              shell.out(
                `${dropped} other spans were dropped before these: more ended than could be stored\n`,
              );
          }
          return exitCode.ok;
        }),
      ),
    );
};
