// Checks numbered output as it comes: each series (`t0 17`, `c1 4`, `p 99`, or bare numbers) must count
// without a gap and without a repetition. Knows busy.py's own reports.

export interface NumberedReport {
  /** Next number due, by series. */
  readonly next: ReadonlyMap<string, number>;
  /** What was wrong, the first few. */
  readonly wrong: readonly string[];
  /** Longest gaps that busy.py measured, ms, with the wall clock second of the report. */
  readonly gaps: readonly { readonly ms: number; readonly at: number }[];
  /** Lines of input that busy.py has checked. */
  readonly checkedInput: number;
  readonly done: number | undefined;
}

export function numberedOutput() {
  const next = new Map<string, number>();
  const wrong: string[] = [];
  const gaps: { ms: number; at: number }[] = [];
  let checkedInput = 0;
  let done: number | undefined;
  let rest = '';
  const line = (text: string): void => {
    const words = text.split(' ');
    const [series = '', number = series] = words.length === 1 ? ['', words[0]] : words;
    if (series === 'gap') gaps.push({ ms: Number(number), at: Number(words[2]) });
    else if (series === 'in') checkedInput = Number(number);
    else if (series === 'done') done = Number(number);
    else if (series === 'BAD') wrong.push(text);
    else {
      const due = next.get(series) ?? 0;
      if (number !== String(due) && wrong.length < 10)
        wrong.push(`series "${series}": ${JSON.stringify(text)} where ${due} was due`);
      next.set(series, Number(number) + 1);
    }
  };
  return {
    feed(bytes: Uint8Array | string): void {
      rest += typeof bytes === 'string' ? bytes : Buffer.from(bytes).toString('latin1');
      const lines = rest.split('\n');
      rest = lines.pop() ?? '';
      lines.forEach(line);
    },
    report: (): NumberedReport => ({ next, wrong, gaps, checkedInput, done }),
  };
}
