// A trace as lines for a terminal: the tree of spans on the left, a bar for its time on the right.
// Pure: spans and a width in, text out.
import { droppedAttribute, type SpanRecord } from '@ssi/telemetry';
import { duration, noPaint, type Paint } from './output.ts';

export interface WaterfallOptions {
  /** Columns of the terminal, at least 60. */
  readonly width: number;
  readonly paint?: Paint;
}

interface Line {
  readonly span: SpanRecord;
  readonly depth: number;
  /** Its parent is not in the store. */
  readonly orphan: boolean;
}

const barMin = 12;
/** Eighths of a column, so that short spans still show where they are. */
const eighths = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/** Depth first, children by start. A span whose parent is missing stands at the left, marked. */
export function treeOf(spans: readonly SpanRecord[]): Line[] {
  const ids = new Set(spans.map((s) => s.spanId));
  const byStart = spans.toSorted((a, b) => a.startMs - b.startMs || (a.spanId < b.spanId ? -1 : 1));
  const lines: Line[] = [];
  const seen = new Set<string>();
  const visit = (span: SpanRecord, depth: number, orphan: boolean): void => {
    if (seen.has(span.spanId)) return;
    seen.add(span.spanId);
    lines.push({ span, depth, orphan });
    for (const child of byStart)
      if (child.parentSpanId === span.spanId) visit(child, depth + 1, false);
  };
  for (const s of byStart)
    if (s.parentSpanId === null || !ids.has(s.parentSpanId)) visit(s, 0, s.parentSpanId !== null);
  for (const s of byStart) visit(s, 0, true); // left over: a cycle
  return lines;
}

export function waterfall(spans: readonly SpanRecord[], options: WaterfallOptions): string {
  const paint = options.paint ?? noPaint;
  const lines = treeOf(spans);
  const startMs = Math.min(...spans.map((s) => s.startMs));
  const totalMs = Math.max(...spans.map((s) => s.startMs + s.durationMs)) - startMs;
  const names = lines.map((l) => `${'  '.repeat(l.depth)}${l.orphan ? '? ' : ''}${l.span.name}`);
  const wheres = lines.map((l) => whereOf(l.span));
  const times = lines.map((l) => duration(l.span.durationMs));
  const nameWidth = Math.min(44, Math.max(4, ...names.map((n) => n.length)));
  const whereWidth = Math.max(...wheres.map((w) => w.length));
  const timeWidth = Math.max(...times.map((t) => t.length));
  const barWidth = Math.max(
    barMin,
    Math.max(60, options.width) - nameWidth - whereWidth - timeWidth - 6,
  );
  const rows = lines.map((l, i) => {
    const name = (names[i] ?? '').slice(0, nameWidth).padEnd(nameWidth);
    const bar = barOf(l.span, { startMs, totalMs, width: barWidth });
    const failed = l.span.status === 'error';
    return [
      failed ? paint('red', name) : name,
      paint('dim', (wheres[i] ?? '').padEnd(whereWidth)),
      (times[i] ?? '').padStart(timeWidth),
      paint(failed ? 'red' : colourOf(l.span.node), bar),
      ...(failed && l.span.message ? [paint('red', l.span.message)] : []),
    ].join('  ');
  });
  return `${rows.map((r) => r.trimEnd()).join('\n')}\n`;
}

const whereOf = (s: SpanRecord): string => (s.node === 0 ? s.service : `n${s.node} ${s.service}`);

const colourOf = (node: number) =>
  (['dim', 'cyan', 'yellow', 'green', 'blue'] as const)[node % 5] ?? 'cyan';

function barOf(
  span: SpanRecord,
  scale: { startMs: number; totalMs: number; width: number },
): string {
  if (scale.totalMs <= 0) return '▏';
  const perMs = scale.width / scale.totalMs;
  const left = Math.min(scale.width - 1, Math.floor((span.startMs - scale.startMs) * perMs));
  const length = Math.min(scale.width - left, span.durationMs * perMs);
  const full = Math.floor(length);
  const rest = eighths[Math.floor((length - full) * 8)] ?? '';
  return `${' '.repeat(left)}${'█'.repeat(full)}${rest || (full === 0 ? '▏' : '')}`;
}

/** What the processes of these spans had to drop before them. */
export const droppedSpans = (spans: readonly SpanRecord[]): number =>
  spans.reduce((n, s) => n + (Number(s.attributes[droppedAttribute]) || 0), 0);
