// One holder, as a process of its own: writes a file again and again with its token until it is refused
// or has written often enough; prints how often it was accepted.
import { fencedFile } from '../src/index.ts';

const [path = '', token = '', times = '0'] = process.argv.slice(2);
const fence = fencedFile();
let accepted = 0;
for (; accepted < Number(times); accepted++) {
  const done = await fence.write(path, token, `${token} ${accepted} `.repeat(1_000));
  if (!done.ok) break;
}
console.log(accepted);
