// ssi node token: lets one machine join, once, for a while.
import { clusterDir, readClusterFile } from '@ssi/client';
import { fail } from '@ssi/contracts';
import { type Command, InvalidArgumentError } from 'commander';
import { hasAuthority } from '../security/authority.ts';
import { startEnrolment } from '../security/enrolment.ts';
import { createToken, encodeToken } from '../security/token.ts';
import type { Shell } from '../shell.ts';
import { localCluster } from '../up/bring-up.ts';
import { writeClusterFile } from '../up/cluster.ts';

const unitMs = { s: 1_000, m: 60_000, h: 3_600_000 } as const;
const expiresMaxMs = 7 * 24 * unitMs.h;

function durationArgument(text: string): number {
  const m = /^(\d+)([smh])$/.exec(text);
  const ms = Number(m?.[1]) * (unitMs[m?.[2] as keyof typeof unitMs] ?? Number.NaN);
  if (!(ms > 0 && ms <= expiresMaxMs))
    throw new InvalidArgumentError('As 90s, 30m or 2h; seven days at most.');
  return ms;
}

export function defineToken(parent: Command, shell: Shell): void {
  const command = parent
    .command('token')
    .description('what "ssi join" takes on another machine: lets one in, once; keep it secret')
    .option(
      '--expires <time>',
      'how long it can be used, as 90s, 30m, 2h',
      durationArgument,
      unitMs.h,
    );
  command.action(
    shell.act(async (options: { expires: number }) => {
      const wanted = command.optsWithGlobals<{ cluster?: string }>().cluster;
      const found = localCluster(wanted ?? shell.io.env.SSI_CLUSTER);
      if (!found.ok) return shell.fail(command, undefined, found);
      const { name, nats, pidBits, mode } = found.value;
      if (nats === undefined || mode === 'embedded')
        return shell.fail(
          command,
          name,
          fail('EOPNOTSUPP', 'it has no bus that another machine reaches'),
        );
      const dir = clusterDir(name);
      if (!hasAuthority(dir)) {
        if (found.value.nodes.length > 0 && found.value.redis === undefined)
          return shell.fail(
            command,
            name,
            fail('EOPNOTSUPP', 'this machine only joined; tokens are made where "ssi up" ran'),
          );
        shell.out(`${encodeToken({ cluster: name, nats, pidBits })}\n`);
        return 0;
      }
      const made = createToken(dir, Date.now() + options.expires);
      const host = new URL(nats.split(',')[0] ?? nats).hostname;
      const at = await startEnrolment(name, host, (process) => {
        const now = readClusterFile(name);
        if (now.ok)
          writeClusterFile({ ...now.value, processes: [...now.value.processes, process] });
      });
      if (!at.ok) return shell.fail(command, name, at);
      shell.out(`${encodeToken({ cluster: name, host, ...at.value, ...made })}\n`);
      return 0;
    }),
  );
}
