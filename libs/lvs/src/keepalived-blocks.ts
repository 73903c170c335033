// The form of keepalived.conf: lines of words, and blocks in braces. What a word means is said elsewhere.
// [keepalived.conf(5): GENERAL CONFIGURATION, comments, quoting]
import { fail, ok, type Reply } from '@ssi/contracts';

export interface Line {
  readonly words: readonly string[];
  /** 1.. */
  readonly line: number;
  /** What is in its braces; undefined: there are none. */
  readonly block: readonly Line[] | undefined;
}

interface Token {
  readonly text: string;
  readonly line: number;
  readonly kind: 'word' | 'open' | 'close' | 'end';
}

/** Braces are words of their own; a comment runs from # or ! to the end of its line. */
function tokensOf(text: string, fault: (line: number, what: string) => void): Token[] {
  const tokens: Token[] = [];
  for (const [at, row] of text.split('\n').entries()) {
    const line = at + 1;
    const pattern = /\s+|([#!].*)|"((?:[^"\\]|\\.)*)"|(["])|([{}])|((?:[^\s"{}\\]|\\.)+)/gy;
    for (const [, , quoted, unpaired, brace, word] of row.matchAll(pattern)) {
      if (unpaired) {
        fault(line, 'a quotation mark without its pair');
        break;
      }
      const found = quoted ?? word;
      if (brace) tokens.push({ text: brace, line, kind: brace === '{' ? 'open' : 'close' });
      else if (found !== undefined)
        tokens.push({ text: found.replace(/\\(.)/g, '$1'), line, kind: 'word' });
    }
    tokens.push({ text: '', line, kind: 'end' });
  }
  return tokens;
}

const depthMax = 16;

/** EINVAL: every fault of form, a line each. */
export function parseBlocks(text: string, name: string): Reply<readonly Line[], 'EINVAL'> {
  const faults: string[] = [];
  const fault = (line: number, what: string): void => {
    faults.push(`${name}:${line}: ${what}`);
  };
  const tokens = tokensOf(text, fault);
  let at = 0;

  /** Up to the brace that closes it, or to the end. */
  function lines(opened: number | undefined, depth: number): Line[] {
    const found: Line[] = [];
    let words: Token[] = [];
    const done = (block?: Line[]): void => {
      const [first] = words;
      if (first) {
        const texts = words.map((w) => w.text);
        if (texts[0]?.startsWith('include') && depth === 0)
          fault(first.line, `${texts[0]}: other files are not read: put them into one`);
        else if (/^[@$~]/.test(texts[0] ?? ''))
          fault(first.line, `${texts[0]}: conditions, definitions and ~SEQ are not understood`);
        else found.push({ words: texts, line: first.line, block });
      }
      words = [];
    };
    for (; at < tokens.length; at++) {
      const token = tokens[at] as Token;
      if (token.kind === 'word') words.push(token);
      else if (token.kind === 'end') {
        // The brace may be on the next line.
        const next = tokens.slice(at + 1).find((t) => t.kind !== 'end');
        if (next?.kind !== 'open') done();
      } else if (token.kind === 'close') {
        done();
        if (opened !== undefined) return found;
        fault(token.line, 'a } without its {');
      } else if (words.length === 0) {
        fault(token.line, 'a { that belongs to nothing');
        at++;
        lines(token.line, depth + 1);
      } else if (depth >= depthMax) {
        fault(token.line, `more than ${depthMax} blocks in each other`);
        at = tokens.length;
      } else {
        at++;
        done(lines(token.line, depth + 1));
      }
    }
    if (opened !== undefined) fault(opened, 'a { without its }');
    return found;
  }

  const found = lines(undefined, 0);
  return faults.length > 0 ? fail('EINVAL', faults.join('\n')) : ok(found);
}
