// ipvsadm's options as a table, and a command line cut into them. [ipvsadm(8), 1.31]
import { fail, ok, type Reply } from '@ssi/contracts';

/** Takes: nothing, a value, or a value that may be left out. */
type Takes = 'none' | 'value' | 'maybe';
interface Option {
  readonly long: string;
  readonly short?: string;
  readonly takes: Takes;
}

const option = (long: string, short = '', takes: Takes = 'none'): Option => ({
  ...{ long, takes },
  ...(short && { short }),
});

export const commands = [
  option('add-service', 'A'),
  option('edit-service', 'E'),
  option('delete-service', 'D'),
  option('clear', 'C'),
  option('restore', 'R'),
  option('save', 'S'),
  option('add-server', 'a'),
  option('edit-server', 'e'),
  option('delete-server', 'd'),
  option('list', 'L'),
  option('list', 'l'),
  option('zero', 'Z'),
] as const;

const parameters = [
  option('tcp-service', 't', 'value'),
  option('udp-service', 'u', 'value'),
  option('fwmark-service', 'f', 'value'),
  option('scheduler', 's', 'value'),
  option('persistent', 'p', 'maybe'),
  option('netmask', 'M', 'value'),
  option('sched-flags', 'b', 'value'),
  option('real-server', 'r', 'value'),
  option('gatewaying', 'g'),
  option('ipip', 'i'),
  option('masquerading', 'm'),
  option('fullnat'),
  option('weight', 'w', 'value'),
  option('u-threshold', 'x', 'value'),
  option('l-threshold', 'y', 'value'),
  option('numeric', 'n'),
  option('stats'),
  option('rate'),
  option('exact'),
  option('thresholds'),
  option('nosort'),
  option('sort'),
] as const;

export interface Cut {
  readonly command: string;
  /** By long name; '' where there was no value. */
  readonly options: ReadonlyMap<string, string>;
}

const all: readonly Option[] = [...commands, ...parameters];
const isCommand = (o: Option): boolean => commands.some((c) => c.long === o.long);

/** As in `-Ln`, `-w5`, `--weight=5`, `--weight 5`. */
export function cut(argv: readonly string[]): Reply<Cut, 'EINVAL'> {
  let command: string | undefined;
  const options = new Map<string, string>();
  const rest = [...argv];

  const take = (o: Option, shown: string, inline: string | undefined): string | undefined => {
    if (isCommand(o)) {
      if (command) return `multiple commands specified: ${shown}`;
      command = o.long;
      return undefined;
    }
    if (options.has(o.long)) return `multiple '${o.long}' options specified`;
    let value = inline;
    const next = rest[0];
    if (value === undefined && o.takes !== 'none' && next !== undefined)
      if (o.takes === 'value' || !next.startsWith('-')) value = rest.shift();
    if (o.takes === 'value' && value === undefined) return `option ${shown} wants a value`;
    options.set(o.long, value ?? '');
    return undefined;
  };

  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (word.startsWith('--')) {
      const [name = '', ...value] = word.slice(2).split('=');
      const o = all.find((one) => one.long === name);
      if (!o) return fail('EINVAL', `unknown option ${word}`);
      if (value.length > 0 && o.takes === 'none') return fail('EINVAL', `--${name} takes no value`);
      const fault = take(o, `--${name}`, value.length > 0 ? value.join('=') : undefined);
      if (fault) return fail('EINVAL', fault);
      continue;
    }
    if (!/^-./.test(word)) return fail('EINVAL', `unexpected argument ${word}`);
    for (let at = 1; at < word.length; at++) {
      const o = all.find((one) => one.short === word[at]);
      if (!o) return fail('EINVAL', `unknown option -${word[at]}`);
      const left = o.takes === 'none' ? '' : word.slice(at + 1);
      const fault = take(o, `-${word[at]}`, left || undefined);
      if (fault) return fail('EINVAL', fault);
      if (left) break;
    }
  }
  return ok({ command: command ?? 'list', options });
}
