// ssi wait: waits for any process of the cluster and ends with its status. [wait(1), waitpid(2)]
import { pidArgument, secondsArgument } from '../arguments.ts';
import type { Define } from '../command-table.ts';
import { exitCode, statusOf } from '../status.ts';

interface Options {
  readonly timeout?: number;
  readonly hang: boolean;
  readonly reap: boolean;
  readonly json?: boolean;
}

export const define: Define = (command, shell) => {
  command
    .argument('<pid>', 'a process', pidArgument)
    .option('-t, --timeout <seconds>', 'ETIMEDOUT after that long', secondsArgument)
    .option('--no-hang', 'EAGAIN at once while it runs')
    .option('--no-reap', 'leave its status for the next who waits')
    .option('--json', 'as JSON: {pid,code,signal}, and end with 0 whatever the status is')
    .addHelpText(
      'after',
      `
Ends with the program's own status, with 128+N when signal N ended it, with 125 when there is none to get.
The first who waits takes the status; the next gets ECHILD.

Examples:
  ssi wait 65601; echo $?
  ssi wait 65601 --json`,
    )
    .action(
      shell.act((pid: number, options: Options) =>
        shell.withSsi(
          command,
          async (ssi) => {
            const reply = await ssi.wait(pid, {
              reap: options.reap,
              noHang: !options.hang,
              signal: shell.interrupted,
              ...(options.timeout !== undefined && { timeoutMs: options.timeout }),
            });
            if (!reply.ok) {
              shell.fail(command, pid, reply);
              return exitCode.runFailed;
            }
            const { code, signal, reason } = reply.value;
            if (reason) shell.note(`wait: ${pid}: ${reason} its node died`);
            if (!options.json) return statusOf(reply.value);
            shell.json({ pid, code, signal, ...(reason && { reason }) });
            return exitCode.ok;
          },
          { notConnected: exitCode.runFailed },
        ),
      ),
    );
};
