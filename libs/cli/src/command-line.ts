// The command line as a process: arguments and the real world in, exit code out. A bug of ours prints one line,
// never a stack trace, unless SSI_DEBUG=1 asks for it.
import { basename } from 'node:path';
import { processIo } from './io.ts';
import { run } from './program.ts';
import { exitCode } from './status.ts';

/** Names of OpenSSI's that may be links to `ssi`. */
const ownNames = ['onnode', 'onall', 'onclass', 'fast', 'where_pid', 'node_self', 'cluster'];

function bug(error: unknown): never {
  const text = error instanceof Error ? error.message : String(error);
  const stack = process.env.SSI_DEBUG === '1' && error instanceof Error ? `\n${error.stack}` : '';
  process.stderr.write(
    `ssi: this is a bug of ssi: ${text.split('\n', 1)[0]}${stack || '; SSI_DEBUG=1 shows where'}\n`,
  );
  process.exit(exitCode.bug);
}

process.on('uncaughtException', bug);
process.on('unhandledRejection', bug);
const calledAs = basename(process.env.SSI_ARGV0 ?? process.argv[1] ?? '');
const words = process.argv.slice(2);
const code = await run(
  ownNames.includes(calledAs) ? [calledAs, ...words] : words,
  processIo(() => process.exit(exitCode.brokenPipe)),
);
// Everything that was written is on its way out before the process ends; but a reader that does not
// read keeps nobody here.
const patienceMs = 2_000;
setTimeout(() => process.exit(code), patienceMs);
process.stdout.write('', () => process.stderr.write('', () => process.exit(code)));
