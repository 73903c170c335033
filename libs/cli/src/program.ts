// The command line as a whole: `run` takes arguments and a world and gives an exit code. It never ends
// the process and never throws for something a person typed.
import { misspelt } from '@ssi/contracts/environment';
import { Command, CommanderError, Help } from 'commander';
import { killArguments } from './arguments.ts';
import { type CommandEntry, commandTable } from './command-table.ts';
import type { Io } from './io.ts';
import { createShell, type Shell } from './shell.ts';
import { exitCode } from './status.ts';

const exitCodes = `
Exit codes:
  0    done
  1    the operation failed; standard error says "ssi: COMMAND: SUBJECT: ERRNO why; what to do"
  2    wrong usage, nothing was done
  70   a bug of ssi
  130  interrupted (Ctrl-C)
run, onnode, onall, onclass, fast, attach and wait end with the program's own status (128+N: ended by
signal N), and with 125 when the cluster failed, 126 when the program cannot be executed, 127 when there
is no such program.

Environment:
  SSI_CLUSTER  the cluster to use, like --cluster
  SSI_CREDS    a credential from "ssi user add"; it names the cluster
  SSI_NATS     its bus, nats://user:password@host:port, where there is no cluster file
  NO_COLOR     no colours
  SSI_DEBUG    1: stack traces of bugs
`;

const examples = `
Examples:
  ssi up --nodes 3 --detach          a cluster of three nodes on this machine
  ssi run --node 1 -- make -j4       a program on node 1
  ssi migrate 65601 2                moves it to node 2 while it runs
  ssi trace                          what that did, and how long each part took
`;

/** Options every command has. */
function withCommon(command: Command): Command {
  return command.option(
    '--cluster <name>',
    'cluster to use (default: the only one, or $SSI_CLUSTER)',
  );
}

function prepare(command: Command, io: Io): Command {
  return command
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void io.stdout.write(text),
      writeErr: (text) => void io.stderr.write(text),
      outputError: (text, write) => write(text.replace(/^error: /, 'ssi: ')),
    })
    .showHelpAfterError(
      `see: ${['ssi', command.name()].filter((w, i) => i === 0 || w !== 'ssi').join(' ')} --help`,
    )
    .showSuggestionAfterError(true);
}

async function define(command: Command, entry: CommandEntry, shell: Shell): Promise<void> {
  const { define: fill } = await entry.load();
  fill(withCommon(command), shell);
}

/** The program with its commands; those that `wanted` says are filled in. */
export async function buildProgram(
  shell: Shell,
  wanted: (entry: CommandEntry) => boolean,
  table: readonly CommandEntry[] = commandTable,
): Promise<Command> {
  const program = prepare(new Command('ssi'), shell.io)
    .description('N Linux machines that behave as one: processes with one pid on every node.')
    .usage('COMMAND [ARGUMENTS]')
    .enablePositionalOptions()
    .helpCommand('help [command]', 'how to use a command')
    .version(version, '-V, --version', 'version of ssi')
    .addHelpText('after', examples + exitCodes)
    .configureHelp({ subcommandTerm: (c) => c.name(), showGlobalOptions: false });
  withCommon(program);
  program.createHelp = () => Object.assign(new Help(), program.configureHelp());
  for (const entry of table) {
    const command = prepare(new Command(entry.name), shell.io)
      .description(entry.summary)
      .helpGroup(`${entry.group}:`);
    if (wanted(entry)) await define(command, entry, shell);
    program.addCommand(command, { hidden: entry.hidden ?? false });
  }
  return program;
}

export const version = '0.1.0';

/** The first word that is no option; `--cluster NAME` before it is passed over. */
function wordOf(argv: readonly string[]): string | undefined {
  for (let i = 0; i < argv.length; i++) {
    const arg = argv[i] ?? '';
    if (arg === '--cluster') i++;
    else if (!arg.startsWith('-')) return arg;
  }
  return undefined;
}

/** Runs one command line (without `ssi` itself); gives the exit code. */
export async function run(
  argv: readonly string[],
  io: Io,
  table: readonly CommandEntry[] = commandTable,
): Promise<number> {
  const shell = createShell(io);
  const signals = io.onSignals(['SIGINT', 'SIGTERM', 'SIGHUP'], () => shell.interrupt());
  try {
    const typo = misspelt(io.env)[0];
    if (typo) {
      io.stderr.write(
        `ssi: ${typo.name}: EINVAL there is no such variable; did you mean ${typo.meant}?\n`,
      );
      return exitCode.usage;
    }
    const first = wordOf(argv);
    const word = first === 'help' ? argv[argv.indexOf('help') + 1] : first;
    const program = await buildProgram(
      shell,
      (e) => e.name === word || word === 'completion',
      table,
    );
    if (first === undefined && argv.length === 0) {
      io.stderr.write(program.helpInformation());
      return exitCode.usage;
    }
    const at = argv.indexOf(first ?? '');
    const rest = argv.slice(at + 1);
    // Help for what there is not: said as for the command itself.
    const isUnknown = first === 'help' && word !== undefined && !table.some((e) => e.name === word);
    const args =
      first === 'kill'
        ? [...argv.slice(0, at + 1), ...killArguments(rest)]
        : isUnknown
          ? [word]
          : [...argv];
    await program.parseAsync(args, { from: 'user' });
    return shell.status;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? exitCode.ok : exitCode.usage;
  } finally {
    signals.stop();
  }
}
