// Makes the next release of vproc out of this one, in an image: its contract v2 renames a field of `deliver`
// (origin to execution node: a signal), which v1 does not allow. It serves both, and speaks v2 where it can.
// Usage: node upgrade.mjs FOLDER. Fails where the source is not what it was.
import { readFileSync, writeFileSync } from 'node:fs';

const root = process.argv[2];
const edit = (path, ...pairs) => {
  let text = readFileSync(`${root}/${path}`, 'utf8');
  for (const [from, to] of pairs) {
    if (text.split(from).length !== 2) throw new Error(`${path}: not there exactly once: ${from}`);
    text = text.replace(from, () => to);
  }
  writeFileSync(`${root}/${path}`, text);
};

const contract = readFileSync(`${root}/libs/contracts/src/vproc.ts`, 'utf8');
writeFileSync(
  `${root}/libs/contracts/src/vproc.ts`,
  `${contract}
export const vprocV2 = defineContract('vproc', 2, {
  ...vproc.ops,
  deliver: {
    ...vproc.ops.deliver,
    request: z.object({ target: z.int(), signal: z.int().min(0).max(64), uid: z.int().min(0) }),
  },
});
`,
);
edit(
  'services/vproc/src/service.ts',
  [", vproc } from '@ssi/contracts';", ", vproc, vprocV2 } from '@ssi/contracts';"],
  [
    '    deps.ics.serve(vproc, gated(handlers));',
    `    deps.ics.serve(vproc, gated(handlers));
    deps.ics.serve(vprocV2, {
      ...gated(handlers),
      deliver: async (q, call) => {
        await ready;
        return handlers.deliver({ pid: q.target, signal: q.signal, uid: q.uid }, call);
      },
    });`,
  ],
);
edit(
  'services/vproc/src/signals.ts',
  [
    "import { type Errno, fail, ok, type Reply, vproc } from '@ssi/contracts';",
    "import { type Errno, fail, ok, type Reply, vproc, vprocV2 } from '@ssi/contracts';\nimport { inCommon } from '@ssi/ics';",
  ],
  [
    `    return this.node.deps.ics.call(vproc, 'deliver', num, request, {
      context: call.context as CallContext,
    }) as Promise<Reply<Delivered, Errno>>;`,
    `    const { ics } = this.node.deps;
    const options = { context: call.context as CallContext };
    const { pid, ...rest } = request;
    return inCommon(ics, num, [vprocV2, vproc], (version) =>
      version.version === 2
        ? ics.call(vprocV2, 'deliver', num, { target: pid, ...rest }, options)
        : ics.call(vproc, 'deliver', num, request, options),
    );`,
  ],
);
