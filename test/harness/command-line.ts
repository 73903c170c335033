// The command line inside the test's own process: same arguments, same output, same exit codes, without
// a new process for each of many commands.
import { PassThrough } from 'node:stream';
import { run } from '@ssi/cli';
import { connect } from '@ssi/client';
import type { CommandResult, TestCluster } from './cluster.ts';

/** Runs `ssi ARGS` against `cluster` with nothing on standard input. */
export async function commandLine(
  cluster: Pick<TestCluster, 'name'>,
  ...args: string[]
): Promise<CommandResult> {
  const streams = { stdout: new PassThrough(), stderr: new PassThrough() };
  const texts = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const)
    streams[name].on('data', (bytes: Buffer) => {
      texts[name] += bytes.toString();
    });
  const env = { ...process.env, SSI_CLUSTER: cluster.name };
  const never = () => ({ stop: () => {} });
  const code = await run(args, {
    ...streams,
    stdin: new PassThrough().end(),
    env,
    cwd: '/',
    connect: (options) => connect({ ...options, env }),
    onSignals: never,
    onReaderGone: never,
    onResize: never,
  });
  return { code, ...texts };
}
