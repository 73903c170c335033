// ssi attach: this terminal on a process that runs already.
import { pidArgument } from '../arguments.ts';
import type { Define } from '../command-table.ts';
import { foreground } from '../foreground.ts';
import { withProgram } from '../start-program.ts';

interface Options {
  readonly input: boolean;
  readonly tty?: boolean;
  readonly new?: boolean;
  readonly sigProxy?: boolean;
}

export const define: Define = (command, shell) => {
  command
    .argument('<pid>', 'a process started by ssi run', pidArgument)
    .option('--no-input', 'only its output')
    .option('-t, --tty', 'it was started with a terminal; Ctrl-] detaches')
    .option('--new', 'only what it writes from now on')
    .option('--sig-proxy', 'Ctrl-C goes to it (default: detaches)')
    .addHelpText(
      'after',
      '\nEnds with its status, or with 0 when detached.\n\nExamples:\n  ssi attach 65601\n  ssi attach -t 65601',
    )
    .action(
      shell.act((pid: number, options: Options) =>
        withProgram(shell, command, (ssi) =>
          foreground(shell, command, ssi, pid, {
            input: options.input,
            tty: options.tty ?? false,
            passSignals: options.sigProxy ?? false,
            from: options.new ? 'end' : 'start',
            reap: false,
          }),
        ),
      ),
    );
};
