// The embedded demo, as `npm start` runs it where native nodes cannot: the story is told to its end.
import { expect, test } from 'vitest';
import { demoEmbedded } from '../src/demo-embedded.ts';
import { waterfall } from '../src/waterfall.ts';

test('demo: embedded: an actor counts on three nodes, outlives the first, and its move is one trace', async () => {
  let text = '';
  const done = await demoEmbedded({
    say: (line) => {
      text += `${line}\n`;
    },
    write: (part) => {
      text += part;
    },
    waterfall: (spans) => {
      expect(spans.filter((s) => s.parentSpanId === null).map((s) => s.name)).toEqual([
        'ssi.migrate',
      ]);
      const ids = new Set(spans.map((s) => s.spanId));
      expect(spans.filter((s) => s.parentSpanId && !ids.has(s.parentSpanId))).toEqual([]);
      return waterfall(spans, { width: 110 });
    },
  });
  if (!done.ok) throw new Error(`${done.errno} ${done.detail}\n${text}`);
  await done.value.cluster.close();
  for (const name of ['negotiate', 'freeze', 'dump', 'transfer', 'restore', 'commit', 'resume'])
    expect(text).toContain(name);
  expect(text).toMatch(/node 3\s+origin [23]/);
  if (process.env.SSI_SHOW) console.log(text);
}, 60_000);
