// ssi collect: an OTLP/HTTP endpoint for programs that are traced, into the store that `ssi trace` reads.
import { findCluster, natsLink } from '@ssi/client';
import { startOtlpReceiver } from '@ssi/telemetry';
import { InvalidArgumentError } from 'commander';
import type { Define } from '../command-table.ts';
import { exitCode } from '../status.ts';

interface Listen {
  readonly host: string;
  readonly port: number;
}

const busWaitMs = 10_000;

function listenArgument(text: string): Listen {
  const m = /^(?:(.+):)?(\d{1,5})$/.exec(text);
  const port = Number(m?.[2]);
  if (!m || port > 65_535) throw new InvalidArgumentError('[HOST:]PORT, as in 127.0.0.1:4318.');
  return { host: m[1] ?? '127.0.0.1', port };
}

export const define: Define = (command, shell) => {
  command
    .option('-l, --listen <address>', 'where: [host:]port', listenArgument, {
      ...{ host: '127.0.0.1', port: 4318 },
    })
    .addHelpText(
      'after',
      `
Takes POST /v1/traces in JSON and protobuf. The cluster's own services need none of this: what they do is in
the store already.

Examples:
  ssi collect
  OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 my-program; ssi trace`,
    )
    .action(
      shell.act(async (options: { listen: Listen }) => {
        const { cluster } = command.optsWithGlobals<{ cluster?: string }>();
        const found = findCluster({ cluster, env: shell.io.env });
        if (!found.ok) return shell.fail(command, undefined, found);
        const link = await natsLink({ ...found.value, uid: 0, waitMs: busWaitMs });
        if (!link.ok) return shell.fail(command, undefined, link);
        const started = await startOtlpReceiver({ ...options.listen, store: link.value.spans });
        if (!started.ok) {
          await link.value.close();
          return shell.fail(command, undefined, started);
        }
        shell.note(`collect: OTLP/HTTP at http://${options.listen.host}:${started.value.port}`);
        await shell.untilInterrupted();
        await started.value.close();
        await link.value.close();
        return exitCode.ok;
      }),
    );
};
