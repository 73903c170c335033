// The example's sparse files against one plain buffer.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Content } from './memory-fs/content.ts';

const range = { offset: fc.nat(200_000), length: fc.nat(150_000) };
const step = fc.oneof(
  fc.record({ kind: fc.constant('write'), ...range }),
  fc.record({ kind: fc.constant('punch'), ...range }),
  fc.record({ kind: fc.constant('truncate'), ...range }),
);

describe('FUSE: memory file system: content', () => {
  test('reads what was written, zeros where nothing was', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
        const content = new Content();
        let plain = Buffer.alloc(0);
        const grow = (size: number) => {
          if (size > plain.length)
            plain = Buffer.concat([plain, Buffer.alloc(size - plain.length)]);
        };
        steps.forEach(({ kind, offset, length }, i) => {
          if (kind === 'write' && length > 0) {
            const data = Buffer.alloc(length, i + 1);
            content.write(offset, data);
            grow(offset + length);
            data.copy(plain, offset);
          } else if (kind === 'punch') {
            content.punch(offset, length);
            plain.fill(0, Math.min(offset, plain.length), Math.min(offset + length, plain.length));
          } else if (kind === 'truncate') {
            content.truncate(offset);
            grow(offset);
            plain = Buffer.from(plain.subarray(0, offset));
          }
        });
        expect(content.size).toBe(plain.length);
        expect(Buffer.concat(content.read(0, 400_000)).equals(plain)).toBe(true);
      }),
      { numRuns: 50 },
    );
  });
});
