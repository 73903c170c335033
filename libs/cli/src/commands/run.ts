// ssi run: starts a program on a node; in the foreground it is as if it ran here.
import { nodeArgument, signalArgument, variableArgument } from '../arguments.ts';
import type { Define } from '../command-table.ts';
import { notStarted, requestOf, runInForeground, withProgram } from '../start-program.ts';
import { exitCode } from '../status.ts';
import { tool } from '../up/host.ts';

interface Options {
  readonly node?: number;
  readonly detach?: boolean;
  readonly interactive?: boolean;
  readonly tty?: boolean;
  readonly input: boolean;
  readonly pin?: boolean;
  readonly sigcluster?: number;
  readonly ioUring?: boolean;
  readonly privateIpc?: boolean;
  readonly clusterIpc?: boolean;
  readonly addr?: string;
  readonly cwd?: string;
  readonly env?: Record<string, string>;
  readonly json?: boolean;
}

export const define: Define = (command, shell) => {
  command
    .usage('[options] [--] COMMAND [ARGUMENTS]')
    .argument('<command...>', 'program and its arguments')
    .option('-n, --node <num>', 'node to start on (default: the least loaded)', nodeArgument)
    .option('-d, --detach', 'print its pid and end; its output is kept: ssi logs PID')
    .option('-i, --interactive', 'with --detach: leave its input open for ssi attach')
    .option('-t, --tty', 'give it a terminal; Ctrl-] detaches')
    .option('--no-input', 'its standard input ends at once')
    .option('-p, --pin', 'not to be moved')
    .option('--sigcluster <signal>', 'signal to send it on each membership change', signalArgument)
    .option('--addr <address>', 'IPv4 address that moves with it, connected TCP included')
    .option('--io-uring', 'let it use io_uring; with a ring open it cannot be moved')
    .option('--private-ipc', 'System V objects of its own, which move with it (postgres)')
    .option('--cluster-ipc', "its System V queues and semaphores are the cluster's")
    .option('--cwd <dir>', 'directory to start in (default: this one)')
    .option('-e, --env <name=value>', 'one more environment variable', variableArgument)
    .option('--json', 'as JSON: {pid} (with --detach)')
    .passThroughOptions()
    .addHelpText(
      'after',
      `
Ends with the program's status; 125: the cluster failed, 126: it cannot be executed, 127: no such program.
Ctrl-C goes to the program; the fourth leaves it alone and detaches.

Examples:
  ssi run -- make -j8
  ssi run --node 1 --detach --json -- ./count.sh
  ssi run -t bash
  producer | ssi run --node 2 -- sort | head`,
    )
    .action(
      shell.act((argv: string[], options: Options) => {
        const preload = options.clusterIpc ? { LD_PRELOAD: tool('libssi-sysv.so') } : {};
        const start = {
          ...options,
          env: { ...preload, ...options.env },
          input: options.input && (!options.detach || (options.interactive ?? false)),
        };
        if (!options.detach)
          return withProgram(shell, command, (ssi) =>
            runInForeground(shell, command, ssi, argv, start),
          );
        return shell.withSsi(
          command,
          async (ssi) => {
            const request = requestOf(shell, argv, start);
            const reply = await shell.progress('starting', ssi.run(request));
            if (!reply.ok) return notStarted(shell, command, argv[0], reply);
            if (options.json) shell.json({ pid: reply.value.pid });
            else shell.out(`${reply.value.pid}\n`);
            return exitCode.ok;
          },
          { notConnected: exitCode.runFailed },
        );
      }),
    );
};
