// The Log port as lines of JSON on a stream, standard error by default.
import type { Log, LogFields } from '@ssi/ports';

type Level = 'debug' | 'info' | 'warn' | 'error';
const levels: readonly Level[] = ['debug', 'info', 'warn', 'error'];

/** An Error in a field is told by its name and message; JSON alone would make it `{}`. */
const plain = (_: string, value: unknown): unknown =>
  value instanceof Error ? `${value.name}: ${value.message}` : value;

export function jsonLog(
  options: {
    readonly fields?: LogFields;
    /** Lines below it are left out; `info` where absent. */
    readonly level?: Level;
    readonly write?: (line: string) => void;
    readonly wallMs?: () => number;
  } = {},
): Log {
  const { fields = {}, level: least = 'info', wallMs = Date.now } = options;
  const write = options.write ?? ((line: string) => void process.stderr.write(line));
  const line =
    (level: Level) =>
    (text: string, more: LogFields = {}): void => {
      if (levels.indexOf(level) < levels.indexOf(least)) return;
      const time = new Date(wallMs()).toISOString();
      write(`${JSON.stringify({ time, level, text, ...fields, ...more }, plain)}\n`);
    };
  return {
    debug: line('debug'),
    info: line('info'),
    warn: line('warn'),
    error: line('error'),
    with: (more) => jsonLog({ ...options, fields: { ...fields, ...more } }),
  };
}
