// Completion scripts for three shells, from a list of commands. Pure text; no shell calls ssi while
// somebody types.

export interface CompletionCommand {
  readonly name: string;
  readonly text: string;
  readonly options: readonly { readonly flag: string; readonly text: string }[];
}

export const shells = ['bash', 'zsh', 'fish'] as const;

/** Inside single quotes of any of the three. */
const quoted = (text: string): string => text.replaceAll("'", "'\\''");
const forZsh = (text: string): string => quoted(text).replaceAll(/[:[\]]/g, '\\$&');

export function completionScript(
  shell: (typeof shells)[number],
  commands: readonly CompletionCommand[],
): string {
  return { bash, zsh, fish }[shell](commands);
}

const bash = (commands: readonly CompletionCommand[]): string => `# ssi completion for bash
_ssi() {
  local word=\${COMP_WORDS[COMP_CWORD]} command=\${COMP_WORDS[1]}
  if ((COMP_CWORD == 1)); then
    mapfile -t COMPREPLY < <(compgen -W '${commands.map((c) => c.name).join(' ')}' -- "$word")
    return
  fi
  local options=''
  case $command in
${commands.map((c) => `    ${c.name}) options='${c.options.map((o) => o.flag).join(' ')}' ;;`).join('\n')}
  esac
  if [[ $word == -* ]]; then mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word"); fi
}
complete -o default -F _ssi ssi
`;

const zsh = (commands: readonly CompletionCommand[]): string => `#compdef ssi
_ssi() {
  if (( CURRENT == 2 )); then
    local -a commands=(
${commands.map((c) => `      '${c.name}:${forZsh(c.text)}'`).join('\n')}
    )
    _describe command commands
    return
  fi
  case $words[2] in
${commands.map((c) => `    ${c.name}) _arguments ${c.options.map((o) => `'${o.flag}[${forZsh(o.text)}]'`).join(' ')} '*: :_default' ;;`).join('\n')}
  esac
}
compdef _ssi ssi
`;

const fish = (commands: readonly CompletionCommand[]): string =>
  [
    '# ssi completion for fish',
    ...commands.map(
      (c) => `complete -c ssi -f -n __fish_use_subcommand -a ${c.name} -d '${quoted(c.text)}'`,
    ),
    ...commands.flatMap((c) =>
      c.options.map(
        (o) =>
          `complete -c ssi -n '__fish_seen_subcommand_from ${c.name}' -l ${o.flag.slice(2)} -d '${quoted(o.text)}'`,
      ),
    ),
    '',
  ].join('\n');
