// What commands print: tables, JSON, figures for people. Pure functions from data to text; colours come
// in only where the stream is a terminal and NO_COLOR is not set.
import type { Failure } from '@ssi/contracts';

export type Colour = 'red' | 'green' | 'yellow' | 'blue' | 'cyan' | 'dim' | 'bold';
export type Paint = (colour: Colour, text: string) => string;

const codes: Record<Colour, string> = {
  red: '31',
  green: '32',
  yellow: '33',
  blue: '34',
  cyan: '36',
  dim: '2',
  bold: '1',
};

export const noPaint: Paint = (_colour, text) => text;
export const ansiPaint: Paint = (colour, text) => `\u001b[${codes[colour]}m${text}\u001b[0m`;

export const paintFor = (stream: { isTTY?: boolean }, env: NodeJS.ProcessEnv): Paint =>
  stream.isTTY && !env.NO_COLOR && env.TERM !== 'dumb' ? ansiPaint : noPaint;

export interface Column<T> {
  readonly title: string;
  readonly of: (row: T) => string | number;
  readonly align?: 'right';
  readonly colour?: (row: T) => Colour | undefined;
}

/** Columns as wide as their widest cell, two spaces between; a line longer than `width` is cut. */
export function table<T>(
  columns: readonly Column<T>[],
  rows: readonly T[],
  options: { paint?: Paint; width?: number | undefined } = {},
): string {
  const paint = options.paint ?? noPaint;
  const cells = rows.map((row) => columns.map((c) => clean(String(c.of(row)))));
  const widths = columns.map((c, i) =>
    Math.max(c.title.length, ...cells.map((line) => line[i]?.length ?? 0)),
  );
  const line = (texts: readonly string[], row?: T): string => {
    let left = options.width ?? Number.POSITIVE_INFINITY;
    const parts: string[] = [];
    for (const [i, column] of columns.entries()) {
      const text = texts[i] ?? '';
      const width = widths[i] ?? 0;
      const isLast = i === columns.length - 1;
      const padded =
        column.align === 'right' ? text.padStart(width) : isLast ? text : text.padEnd(width);
      const cut = padded.slice(0, Math.max(0, left));
      left -= cut.length + 2;
      const colour = row === undefined ? 'bold' : column.colour?.(row);
      parts.push(colour && cut.trim() ? paint(colour, cut) : cut);
      if (left <= 0) break;
    }
    return parts.join('  ').trimEnd();
  };
  return [
    line(columns.map((c) => c.title)),
    ...cells.map((texts, i) => line(texts, rows[i] as T)),
    '',
  ].join('\n');
}

/** A program's arguments may hold anything: keep them from moving the cursor. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it removes
const clean = (text: string): string => text.replace(/[\u0000-\u001f\u007f-\u009f]/g, '?');

export const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;
export const jsonLine = (value: unknown): string => `${JSON.stringify(value)}\n`;

/** 950 B, 12.3 MB: three figures, powers of 1,000. */
export function bytes(count: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 || value >= 99.95 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** 0.42 ms, 43 ms, 1.20 s, 2m 05s */
export function duration(ms: number): string {
  if (ms < 9.995) return `${ms.toFixed(2)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(2)} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)}m ${String(seconds % 60).padStart(2, '0')}s`;
}

/** CPU time as ps(1) prints it: 00:01:05, with days before it. */
export function cpuTime(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const two = (n: number): string => String(n).padStart(2, '0');
  const days = Math.floor(seconds / 86_400);
  const text = [seconds / 3600, seconds / 60, seconds].map((n, i) =>
    two(Math.floor(n) % (i === 0 ? 24 : 60)),
  );
  return `${days > 0 ? `${days}-` : ''}${text.join(':')}`;
}

/** `ssi: migrate: 65601: ESRCH no such process ...` */
export const errorLine = (command: string, subject: string | undefined, f: Failure): string =>
  `ssi: ${command}: ${subject === undefined ? '' : `${subject}: `}${f.errno} ${f.detail}${remedyOf(f)}\n`;

/** What to do next, where the failure's own words do not say it already. */
function remedyOf(f: Failure): string {
  if (/ssi [a-z]/.test(f.detail)) return '';
  const what = remedies[f.errno];
  return what ? `; ${what}` : '';
}

const remedies: Partial<Record<Failure['errno'], string>> = {
  ESRCH: 'see what runs with: ssi ps',
  EHOSTDOWN: 'see which nodes are UP with: ssi nodes',
  EHOSTUNREACH: 'nothing was done; see what is wrong with: ssi doctor',
  ETIMEDOUT: 'it may have been done; look before you repeat it',
  EAGAIN: 'try again in a moment',
  EBUSY: 'try again in a moment',
  ENETDOWN: 'that node has lost its lease; see: ssi nodes',
  ECANCELED: 'it runs on where it was',
  EPROTONOSUPPORT: 'this ssi and the cluster are of different versions; upgrade the older one',
  ENOSYS: 'this ssi and the cluster are of different versions; upgrade the older one',
  EPERM: 'only its owner or root may do that',
};
